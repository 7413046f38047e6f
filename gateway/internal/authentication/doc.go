// Package authentication has auth-service judge the tokens of CONNECTs, and holds CONNECTs while it cannot.
//
// Official clients wait longer and longer between two tries to open a connection, and begin anew as soon as one has opened. So a
// client whose connection is closed for want of auth-service comes back at once, again and again. Therefore a CONNECT that cannot be
// judged is held and asked about again, and while auth-service is known to be away new connections are not opened at all:
//
//	there ──three questions in a row without an answer──▶ away ──an answer──▶ there
//
//	CONNECT     asked, and again after a pause            asked in turns, a few a second; all of them soon after the answer
//	handshake   opened                                    refused with 503, but for one a second, which finds out
//
// CONNECTs that come while others are being judged share one question, and each is answered by itself. What is not answered there, as by an
// auth-service older than that question, is asked about alone.
package authentication
