// Package sabotage breaks Starling on purpose, to see whether the fault rig (test/chaos) notices. Without the build tag
// `sabotage` all of it is constant false and compiled away; with it, the environment variable STARLING_SABOTAGE says what breaks:
//
//	ack-before-commit   some batches are answered and published, and then lost, as a crash between ack and commit would do
//	no-outbox           no outbox row is kept, and some publications are lost, as a crash after the commit would do
//	no-eviction         who is taken out of a room stays in it on gateways, as a lost eviction would do
//	no-log-repair       a gateway loses some events of users' logs, and passes those gaps on
//	edit-skips-changed  an edit changes what a message says and not its version: who was away does not hear of it, as a forgotten column would do
//	late-activity       inboxes are told how rooms stood the time before, as a replica that lags would do
//	no-gap-repair       a gateway passes gaps on, never compares heads, and loses some events, as a full queue would do
package sabotage
