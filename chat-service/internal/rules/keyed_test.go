package rules_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/rules/rulestest"
	"github.com/starling-chat/starling/proto/fault/faulttest"
)

// once is a request with a key.
func once(key string, commands ...rules.Command) rules.Keyed {
	by := rulestest.By("ann")
	return rules.Keyed{Key: rules.KeyOf("r", by, key), Asked: rules.DigestOf(commands), Commands: commands}
}

// keep is the state after a batch, as far as keys and mutes are concerned.
func keep(state rules.State, changes *rules.Changes) rules.State {
	state.Answers = map[rules.KeyID]rules.Answer{}
	for _, a := range changes.Answers {
		state.Answers[a.Key] = a.Answer
	}
	for _, c := range changes.Members {
		state.Members[c.Membership] = c.Member
	}
	return state
}

// TestKeyed: what was done is not done again for the same key, in the same batch and later, also when it was undone since. A key that comes with
// something else is refused, and a refusal is decided anew.
func TestKeyed(t *testing.T) {
	until := time.UnixMilli(1_900_000_000_000).UTC()
	mute := rules.Restrict{Origin: rulestest.By("ann"), Who: "bob", Mute: true, Until: until}
	unmute, other := mute, mute
	unmute.Until, other.Who = time.Time{}, "cid"
	self := mute
	self.Who = "ann"
	state := rulestest.World{"r": {"ann", "bob", "cid"}}.State()
	words := func(outcomes []rules.Outcome) (words []string) {
		for _, o := range outcomes {
			words = append(words, map[bool]string{true: "did "}[o.Changed]+faulttest.Word(o.Err))
		}
		return words
	}
	changes, outcomes := rules.Decide(state, []rules.Command{
		once("1", mute), once("1", mute), unmute, once("1", mute), once("1", other), once("2", self), once("2", other), once("3", unmute),
	})
	want := []string{"did ok", "did ok", "did ok", "did ok", "invalid", "forbidden not_allowed", "did ok", "ok"}
	if diff := cmp.Diff(want, words(outcomes)); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	if len(changes.Answers) != 3 || len(changes.Audit) != 3 {
		t.Errorf("%d answers and %d acts, want 3 and 3", len(changes.Answers), len(changes.Audit))
	}
	later := keep(state, &changes)
	changes, outcomes = rules.Decide(later, []rules.Command{once("1", mute), once("2", other), once("2", mute), once("3", unmute)})
	if diff := cmp.Diff([]string{"did ok", "did ok", "invalid", "ok"}, words(outcomes)); diff != "" {
		t.Errorf("later (-want +got):\n%s", diff)
	}
	if !changes.Empty() {
		t.Errorf("repeats write %+v", changes)
	}
}

// TestKeyedEach: the answer about several users is kept as it was, with whom it was refused.
func TestKeyedEach(t *testing.T) {
	add := func(user chat.UserID) rules.Command {
		return rules.Add{Origin: rulestest.By("ann"), Who: rules.Invited{User: user, Role: access.RoleMember}}
	}
	request := once("k", add("eve"), add("fay"))
	request.Each = true
	state := rulestest.World{"r": {"ann"}}.State()
	state.Members[chat.Membership{Room: "r", User: "eve"}] = rules.Member{BannedUntil: access.Forever()}
	changes, outcomes := rules.Decide(state, []rules.Command{request, request})
	for i, o := range outcomes {
		if o.Err != nil || o.Details == nil {
			t.Fatalf("outcome %d = %+v", i, o)
		}
		if diff := cmp.Diff([]string{"banned", "done"}, reasons(o.Details.Parts)); diff != "" {
			t.Errorf("outcome %d (-want +got):\n%s", i, diff)
		}
	}
	if len(changes.Joined) != 1 || len(changes.Answers) != 1 {
		t.Errorf("changes = %+v, want one who joins and one answer", changes)
	}
	fewer := once("k", add("eve"))
	fewer.Each = true
	if _, outcomes := rules.Decide(keep(state, &changes), []rules.Command{fewer}); faulttest.Word(outcomes[0].Err) != "invalid" {
		t.Errorf("the same key for fewer users = %+v, want invalid", outcomes[0])
	}
	request.Key = rules.KeyOf("r", rulestest.By("zoe"), "k")
	state.Rooms = map[chat.RoomID]rules.Room{}
	changes, outcomes = rules.Decide(state, []rules.Command{request})
	if faulttest.Word(outcomes[0].Err) != "not_found" || !changes.Empty() {
		t.Errorf("in no room = %+v, %+v, want not_found and nothing kept", outcomes[0], changes)
	}
}

// TestKeyOf: a key is that of a user or a backend, in a room.
func TestKeyOf(t *testing.T) {
	ann := rules.Origin{User: "ann"}
	seen := map[rules.KeyID]string{}
	for what, id := range map[string]rules.KeyID{
		"ann": rules.KeyOf("r", ann, "k"), "bob": rules.KeyOf("r", rules.Origin{User: "bob"}, "k"), "another room": rules.KeyOf("q", ann, "k"),
		"no room": rules.KeyOf("", ann, "k"), "another key": rules.KeyOf("r", ann, "l"), "a backend as ann": rules.KeyOf("r", rules.Origin{User: "ann", Key: "shop"}, "k"),
		"moved borders": rules.KeyOf("ra", rules.Origin{User: "nn"}, "k"),
	} {
		if before, taken := seen[id]; taken {
			t.Errorf("%s and %s have the same key", what, before)
		}
		seen[id] = what
	}
	socket := ann
	socket.Socket, socket.Name, socket.CausedAt = "s", chat.Name{Text: "Ann"}, time.Now()
	if rules.KeyOf("r", ann, "k") != rules.KeyOf("r", socket, "k") {
		t.Error("the key depends on the socket")
	}
	for key, want := range map[string]string{"k": "ok", "": "invalid", strings.Repeat("k", 65): "invalid", "\x00": "invalid"} {
		if _, err := rules.ParseKey(key); faulttest.Word(err) != want {
			t.Errorf("ParseKey(%q) = %v, want %s", key, err, want)
		}
	}
}

// TestDigestOf: every field of every command that may have a key is part of what was asked for, save where the command comes from.
func TestDigestOf(t *testing.T) {
	for _, command := range []rules.Command{
		rules.Create{},
		rules.Open{},
		rules.Update{},
		rules.Archive{},
		rules.Delete{},
		rules.Add{},
		rules.Remove{},
		rules.SetRole{},
		rules.Restrict{},
		rules.SetPrefs{},
		rules.Block{},
		rules.Leave{},
	} {
		seen := map[rules.Digest]string{rules.DigestOf(command): "nothing"}
		vary(t, reflect.TypeOf(command), nil, func(path string, value any) {
			digest := rules.DigestOf(value)
			if before, same := seen[digest]; same {
				t.Errorf("%T with %s has the digest of that with %s", command, path, before)
			}
			seen[digest] = path
			if again := rules.DigestOf(value); again != digest {
				t.Errorf("%T with %s has two digests", command, path)
			}
		})
		from := reflect.New(reflect.TypeOf(command)).Elem()
		from.FieldByName("Origin").Set(reflect.ValueOf(rulestest.By("zoe")))
		if rules.DigestOf(from.Interface()) != rules.DigestOf(command) {
			t.Errorf("the digest of %T depends on where it comes from", command)
		}
	}
	if rules.DigestOf(rules.Create{}) != rules.DigestOf(rules.Create{Members: []rules.Invited{}}) {
		t.Error("no members are something else than an empty list of them")
	}
	if rules.DigestOf(rules.Archive{}) == rules.DigestOf(rules.Delete{}) {
		t.Error("two commands without fields have the same digest")
	}
}

// vary gives values of a struct in which one field has a value, for all fields and those of structs inside.
func vary(t *testing.T, of reflect.Type, path []int, found func(path string, value any)) {
	t.Helper()
	outer, inner := of, of
	for _, i := range path {
		inner = inner.Field(i).Type
	}
	for i := range inner.NumField() {
		f := inner.Field(i)
		at := append(append([]int{}, path...), i)
		if f.Type == reflect.TypeFor[rules.Origin]() {
			continue
		}
		if f.Type.Kind() == reflect.Struct && f.Type != reflect.TypeFor[time.Time]() {
			vary(t, outer, at, found)
			continue
		}
		v := reflect.New(outer).Elem()
		v.FieldByIndex(at).Set(some(t, f.Type))
		found(f.Name, v.Interface())
	}
}

// some is a value that is not zero.
func some(t *testing.T, of reflect.Type) reflect.Value {
	t.Helper()
	v := reflect.New(of).Elem()
	switch of.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint8, reflect.Uint64:
		v.SetUint(7)
	case reflect.Pointer: // to the zero value, which is not the same as none
		v.Set(reflect.New(of.Elem()))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(of, 1, 1))
	case reflect.Struct:
		v.Set(reflect.ValueOf(time.UnixMilli(7)))
	default:
		t.Fatalf("no value of %v", of)
	}
	return v
}
