package conformance

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// What clients of other languages send, step by step, where they differ from JavaScript's: read off their sources. Each transcript
// ends with a message that comes back, over the transport that the client is on by then. They run against the conformance server
// and, where its packages are installed (npm ci in the folder clients), against the official server, which is the measure.
var transcripts = map[string]func(*foreign){
	// URLSession and Starscream. After 3probe a noop is POSTed; the 5 follows when the waiting GET is answered.
	"Swift, polling, then WebSocket": func(c *foreign) {
		c.open("EIO=4&transport=polling&b64=1")
		c.post(`40{"token":"t"}`)
		c.polls(`40{"sid":`, `42["auth",{"token":"t"}]`)
		waiting := begin(c.t, "GET", c.e.polling(c.sid), "")
		c.webSocket()
		c.says("2probe")
		c.hears("3probe")
		c.post("6")
		if a := <-waiting; a.status != http.StatusOK {
			c.t.Errorf("GET that waits during the upgrade = %d %q, want 200", a.status, a.body)
		}
		c.says("5", `42["message","x"]`)
		c.hears(`42["message-back","x"]`)
		c.says(`451-["message",{"_placeholder":true,"num":0}]`, "bAQID")
		c.hears(`451-["message-back",{"_placeholder":true,"num":0}]`, "bAQID")
	},
	"Swift, WebSocket": func(c *foreign) {
		c.webSocket()
		c.hears(`0{"sid":`)
		c.says(`40{"token":"t"}`)
		c.hears(`40{"sid":`, `42["auth",{"token":"t"}]`)
		c.says(`420["message-with-ack",{"a":1}]`)
		c.hears(`430[{"a":1}]`)
	},
	// SocketIOClient and SocketIOUnity: a GET for the sid, then the WebSocket, without a probe and without another GET.
	".NET and Unity, polling, then WebSocket": func(c *foreign) {
		c.open("EIO=4&transport=polling")
		c.webSocket()
		c.says("5", `40{"token":"t"}`)
		c.hears(`40{"sid":`, `42["auth",{"token":"t"}]`)
		c.says(`42["message","x"]`)
		c.hears(`42["message-back","x"]`)
	},
	".NET and Unity, WebSocket, another namespace": func(c *foreign) {
		c.webSocket()
		c.hears(`0{"sid":`)
		c.says(`40/custom,{"token":"t"}`)
		c.hears(`40/custom,{"sid":`, `42/custom,["auth",{"token":"t"}]`)
		c.says(`42/custom,["message","x"]`)
		c.hears(`42/custom,["message-back","x"]`)
	},
	// android.util.Base64 and its copies end every line after 76 characters, and the last one as well.
	"Java and Android, binary over polling": func(c *foreign) {
		c.open("EIO=4&transport=polling&t=PBxyz12&b64=1")
		c.post("40")
		c.polls(`40{"sid":`, `42["auth",{}]`)
		for _, size := range []int{1, 57, 200} {
			content := slices.Repeat([]byte{0xfb}, size)
			plain := base64.StdEncoding.EncodeToString(content)
			c.post(`451-["message",{"_placeholder":true,"num":0}]`, "b"+lines(plain, 76))
			c.polls(`451-["message-back",{"_placeholder":true,"num":0}]`, "b"+plain)
		}
	},
	"Java and Android, polling, then WebSocket": func(c *foreign) {
		c.open("EIO=4&transport=polling&t=PBxyz12&b64=1")
		c.post(`40{"token":"t"}`)
		c.webSocket()
		c.says("2probe")
		c.hears("3probe")
		c.polls(`40{"sid":`, `42["auth",{"token":"t"}]`)
		c.says("5", `42["message","x"]`)
		c.hears(`42["message-back","x"]`)
	},
	// Other encoders leave out the padding, or write the URL alphabet.
	"base64 without padding, of the URL alphabet": func(c *foreign) {
		c.open("EIO=4&transport=polling")
		c.post("40")
		c.polls(`40{"sid":`, `42["auth",{}]`)
		content := []byte{0xfb, 0xff, 0xfe, 0xff}
		for _, encoded := range []string{base64.RawStdEncoding.EncodeToString(content), base64.RawURLEncoding.EncodeToString(content), base64.URLEncoding.EncodeToString(content)} {
			c.post(`451-["message",{"_placeholder":true,"num":0}]`, "b"+encoded)
			c.polls(`451-["message-back",{"_placeholder":true,"num":0}]`, "b"+base64.StdEncoding.EncodeToString(content))
		}
	},
	// dart:io has the WebSocket alone by default; a socket of another namespace shares its manager.
	"Dart and Flutter, WebSocket": func(c *foreign) {
		c.webSocket()
		c.hears(`0{"sid":`)
		c.says(`40{"token":"t"}`, `40/custom,{"token":"t"}`)
		c.hearsAll(`40{"sid":`, `42["auth",{"token":"t"}]`, `40/custom,{"sid":`, `42/custom,["auth",{"token":"t"}]`)
		c.says("41/custom,", `420["message-with-ack",[1,2],null]`)
		c.hears(`430[[1,2],null]`)
	},
	// rust_socketio goes over before its CONNECT, and names the main namespace.
	"Rust, polling, then WebSocket": func(c *foreign) {
		c.open("EIO=4&transport=polling")
		c.webSocket()
		c.says("2probe")
		c.hears("3probe")
		c.says("5", `40/,{"token":"t"}`)
		c.hears(`40{"sid":`, `42["auth",{"token":"t"}]`)
		c.says(`42/,["message","x"]`)
		c.hears(`42["message-back","x"]`)
	},
	// socket.io-client-cpp knows the WebSocket alone, and closes with a DISCONNECT and a close packet.
	"C++, WebSocket": func(c *foreign) {
		c.webSocket()
		c.hears(`0{"sid":`)
		c.says(`40{"token":"t"}`)
		c.hears(`40{"sid":`, `42["auth",{"token":"t"}]`)
		c.says(`452-7["message-with-ack",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`, "bAQID", "bBAUG")
		c.hears(`462-7[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`, "bAQID", "bBAUG")
		c.says(`42["message","x"]`)
		c.hears(`42["message-back","x"]`)
		c.says("41", "1")
	},
	// python-engineio tries the WebSocket before anything else is sent, and does not poll meanwhile.
	"Python, polling, then WebSocket": func(c *foreign) {
		c.open("transport=polling&EIO=4&t=1764300000.1234567")
		c.webSocket()
		c.says("2probe")
		c.hears("3probe")
		c.says("5", `40{"token":"t"}`)
		c.hears(`40{"sid":`, `42["auth",{"token":"t"}]`)
		c.says(`42["message","x"]`)
		c.hears(`42["message-back","x"]`)
	},
	"Python, polling": func(c *foreign) {
		c.open("transport=polling&EIO=4&t=1764300000.1234567")
		c.post(`40{"token":"t"}`)
		c.polls(`40{"sid":`, `42["auth",{"token":"t"}]`)
		c.post(`42["message","x"]`, `451-["message",{"_placeholder":true,"num":0}]`, "bAQID", `420["message-with-ack",{"a":[]}]`)
		c.polls(`42["message-back","x"]`, `451-["message-back",{"_placeholder":true,"num":0}]`, "bAQID", `430[{"a":[]}]`)
		c.post("41", "1")
	},
	// The Go clients are JavaScript's in another language; their probe can come twice when the first one's answer is late.
	"Go, polling, then WebSocket": func(c *foreign) {
		c.open("EIO=4&transport=polling&t=PBxyz12")
		c.post(`40{"token":"t"}`)
		c.polls(`40{"sid":`, `42["auth",{"token":"t"}]`)
		c.webSocket()
		c.says("2probe", "2probe")
		c.hears("3probe", "3probe")
		c.says("5", `42["message","x"]`)
		c.hears(`42["message-back","x"]`)
	},
	// What means nothing from a client is no reason to lose it.
	"stray open, upgrade and noop": func(c *foreign) {
		c.webSocket()
		c.hears(`0{"sid":`)
		c.says("6", "5", "0{}", "40", "6")
		c.hears(`40{"sid":`, `42["auth",{}]`)
		c.says(`42["message","x"]`)
		c.hears(`42["message-back","x"]`)
	},
}

func TestTranscripts(t *testing.T) {
	for server, url := range map[string]func(*testing.T) string{
		"starling": func(t *testing.T) string { t.Helper(); return serverFor(t, protocolSuite) },
		"official": officialServer,
	} {
		t.Run(server, func(t *testing.T) {
			base := url(t)
			for name, transcript := range transcripts {
				t.Run(name, func(t *testing.T) {
					transcript(&foreign{t: t, e: endpoint{base, "/socket.io/"}})
				})
			}
		})
	}
}

// lines ends a line after every n characters, and the last one.
func lines(text string, n int) string {
	var b strings.Builder
	for part := range slices.Chunk([]byte(text), n) {
		b.Write(part)
		b.WriteByte('\n')
	}
	return b.String()
}

// foreign is a client of another language, spoken by hand. It answers heartbeats.
type foreign struct {
	t      *testing.T
	e      endpoint
	sid    string
	socket *socket
	polled []string // packets that a GET brought and nobody has asked for yet
}

// open gets a session over polling.
func (c *foreign) open(query string) {
	c.t.Helper()
	a := get(c.t, c.e.url(query))
	wantAnswer(c.t, "handshake", a, http.StatusOK, "*")
	c.sid = wantOpen(c.t, a.body, "websocket").SID
}

// webSocket opens a WebSocket, for the session where there is one.
func (c *foreign) webSocket() {
	c.t.Helper()
	c.socket = dial(c.t, c.e, c.sid)
}

// post sends packets in one body.
func (c *foreign) post(packets ...string) {
	c.t.Helper()
	wantAnswer(c.t, "POST "+strings.Join(packets, " "), post(c.t, c.e.polling(c.sid), strings.Join(packets, "\x1e")), http.StatusOK, "ok")
}

// polls asks until the packets have come, in this order; each begins with what is given.
func (c *foreign) polls(want ...string) {
	c.t.Helper()
	for _, prefix := range want {
		for len(c.polled) == 0 {
			a := get(c.t, c.e.polling(c.sid))
			wantAnswer(c.t, "GET", a, http.StatusOK, "*")
			for p := range strings.SplitSeq(a.body, "\x1e") {
				switch p {
				case "2":
					c.post("3")
				case "6":
				default:
					c.polled = append(c.polled, p)
				}
			}
			if a.status != http.StatusOK {
				c.t.FailNow()
			}
		}
		if got := c.polled[0]; !strings.HasPrefix(got, prefix) {
			c.t.Fatalf("packet by GET = %q, want %q", got, prefix)
		}
		c.polled = c.polled[1:]
	}
}

// says sends packets over the WebSocket; a "b" begins the base64 of a binary one.
func (c *foreign) says(packets ...string) {
	c.t.Helper()
	webSocketLink{c.socket}.send(c.t, packets...)
}

// hears waits for packets over the WebSocket, in this order; each begins with what is given.
func (c *foreign) hears(want ...string) {
	c.t.Helper()
	for _, prefix := range want {
		if got := (webSocketLink{c.socket}).next(c.t); !strings.HasPrefix(got, prefix) {
			c.t.Fatalf("packet by WebSocket = %q, want %q", got, prefix)
		}
	}
}

// hearsAll waits for packets over the WebSocket in any order.
func (c *foreign) hearsAll(want ...string) {
	c.t.Helper()
	for len(want) > 0 {
		got := (webSocketLink{c.socket}).next(c.t)
		i := slices.IndexFunc(want, func(prefix string) bool { return strings.HasPrefix(got, prefix) })
		if i < 0 {
			c.t.Fatalf("packet by WebSocket = %q, want one of %q", got, want)
		}
		want = slices.Delete(want, i, i+1)
	}
}
