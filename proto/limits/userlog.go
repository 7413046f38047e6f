package limits

import "strings"

// userLogPrefix begins with a control character: ValidRoomID refuses it, so nobody outside can name a user's log.
const userLogPrefix = "\x01user:"

// UserLog is the id of a user's log. Between services and gateways a log is a room like others: with a sequence without holes, live
// events, repairs and recovery. Its only member is the user.
func UserLog(userID string) string { return userLogPrefix + userID }

// UserOfLog tells whose log an id names; ok is false for that of any other room.
func UserOfLog(roomID string) (userID string, ok bool) {
	return strings.CutPrefix(roomID, userLogPrefix)
}
