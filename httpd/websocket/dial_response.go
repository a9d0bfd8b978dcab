package websocket

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"slices"

	"github.com/gobwas/httphead"
	"github.com/gobwas/ws/wsflate"

	"github.com/evmq/evmq/httpd/internal/http1"
)

// A HandshakeError is the error of an opening handshake that was refused, or to which Dial got another response than that of a WebSocket server. It
// matches ErrHandshake.
type HandshakeError struct {
	Status int         // of the response; 0 if Dial got something that is not HTTP
	Header http.Header // of the response that Dial got; nil for Upgrade
	Text   string      // the reason
}

// Error returns a text with the status and the reason. Any goroutine.
func (e *HandshakeError) Error() string {
	return fmt.Sprintf("%v: status %d: %s", ErrHandshake, e.Status, e.Text)
}

// Unwrap returns ErrHandshake. Any goroutine.
func (e *HandshakeError) Unwrap() error { return ErrHandshake }

// checkResponse returns a *HandshakeError if the head of the response does not make the connection a WebSocket.
func (d *dialer) checkResponse(head []byte) error {
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(head)), nil)
	if err != nil {
		return &HandshakeError{Text: err.Error()}
	}
	_ = resp.Body.Close() // there is none
	refuse := func(text string) error { return &HandshakeError{resp.StatusCode, resp.Header, text} }
	switch {
	case resp.StatusCode != http.StatusSwitchingProtocols:
		return refuse("the server has refused")
	case !http1.HasToken(resp.Header["Upgrade"], "websocket") || !http1.HasToken(resp.Header["Connection"], "upgrade"):
		return refuse("the response is no upgrade to WebSocket")
	case !slices.Equal(resp.Header["Sec-Websocket-Accept"], []string{accept(d.key)}):
		return refuse("Sec-WebSocket-Accept is wrong")
	case !d.takesSubprotocol(resp.Header["Sec-Websocket-Protocol"]):
		return refuse("the subprotocol was not offered")
	case !d.takesExtensions(resp.Header["Sec-Websocket-Extensions"]):
		return refuse("the extensions were not offered")
	}
	return nil
}

// takesSubprotocol stores the subprotocol that the server has chosen. It reports whether that was offered.
func (d *dialer) takesSubprotocol(chosen []string) bool {
	if len(chosen) == 0 {
		return true
	}
	i := slices.Index(d.c.h.cfg.Subprotocols, chosen[0])
	d.c.subprotocol = uint16(i + 1)
	return i >= 0 && len(chosen) == 1
}

// noTakeover has the parameters of permessage-deflate that are offered and accepted.
var noTakeover = wsflate.Parameters{ServerNoContextTakeover: true, ClientNoContextTakeover: true}

// takesExtensions stores whether the server has chosen permessage-deflate. It reports whether the choice was offered: no other extension, and no
// context takeover of the server.
func (d *dialer) takesExtensions(chosen []string) bool {
	if len(chosen) == 0 {
		return true
	}
	options, ok := httphead.ParseOptions([]byte(chosen[0]), nil)
	var p wsflate.Parameters
	if !ok || len(chosen) > 1 || len(options) != 1 || !d.c.h.cfg.Deflate || string(options[0].Name) != wsflate.ExtensionName || p.Parse(options[0]) != nil ||
		!p.ServerNoContextTakeover || p.ClientMaxWindowBits.Defined() {
		return false
	}
	d.c.deflates = true
	return true
}
