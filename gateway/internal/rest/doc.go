// Package rest serves the REST interface that the protos describe (google.api.http): it reads a request into the message of a
// call, makes the call, and writes its answer, or what went wrong, as JSON.
//
//	path ─► route ─► query, body ─► who asks? ─► slot ─► call by gRPC, or in this process ─► JSON
//	  404, 405      400, 413        401          503     the service's fault
//
// Whoever asks wrongly gets a message in the words of the contract, which name the field, as on sockets: JSON is read by
// rawjson, which sockets use too, and no text of a library gets out.
//
// A field whose name ends in _json holds another field as JSON text. Such a field is no part of the interface: REST puts the
// JSON of the other one into it as it came, and writes it as it is, so that what clients tell each other stays the same to
// the last digit.
package rest
