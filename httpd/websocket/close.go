package websocket

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// A CloseCode says why a WebSocket was closed. See RFC 6455, section 7.4, and the registry of IANA.
type CloseCode uint16

// The registered codes. CloseNoStatus, CloseAbnormal and CloseTLSHandshake are never sent.
const (
	CloseNormal             CloseCode = 1000 // the purpose of the connection is fulfilled
	CloseGoingAway          CloseCode = 1001 // the server shuts down, or the page was left
	CloseProtocolError      CloseCode = 1002 // a frame does not follow the protocol
	CloseUnsupportedData    CloseCode = 1003 // the type of a message is not accepted
	CloseNoStatus           CloseCode = 1005 // the peer's close frame had no code
	CloseAbnormal           CloseCode = 1006 // the connection has ended without a close frame
	CloseInvalidData        CloseCode = 1007 // a text is not UTF-8, or a compressed message is invalid
	ClosePolicyViolation    CloseCode = 1008 // a rule of the application was broken, such as a limit of the rate
	CloseTooBig             CloseCode = 1009 // a message is too long
	CloseMandatoryExtension CloseCode = 1010 // the server has not accepted an extension that the client needs
	CloseInternalError      CloseCode = 1011 // the server has met an unexpected condition, such as a panic
	CloseServiceRestart     CloseCode = 1012 // the server restarts
	CloseTryAgainLater      CloseCode = 1013 // the server is overloaded
	CloseBadGateway         CloseCode = 1014 // a server behind this one has given an invalid response
	CloseTLSHandshake       CloseCode = 1015 // the TLS handshake has failed
)

var closeCodes = map[CloseCode]string{
	CloseNormal: "normal", CloseGoingAway: "going away", CloseProtocolError: "protocol error", CloseUnsupportedData: "unsupported data",
	CloseNoStatus: "no status", CloseAbnormal: "abnormal", CloseInvalidData: "invalid data", ClosePolicyViolation: "policy violation",
	CloseTooBig: "message too big", CloseMandatoryExtension: "mandatory extension", CloseInternalError: "internal error",
	CloseServiceRestart: "service restart", CloseTryAgainLater: "try again later", CloseBadGateway: "bad gateway", CloseTLSHandshake: "TLS handshake",
}

// String returns the number and, of a registered code, the name. Any goroutine.
func (c CloseCode) String() string {
	if name := closeCodes[c]; name != "" {
		return strconv.Itoa(int(c)) + " " + name
	}
	return strconv.Itoa(int(c))
}

// maySend reports whether the code may be in a close frame: it is registered for that, or for the use of libraries and applications.
func (c CloseCode) maySend() bool {
	switch c {
	case CloseNoStatus, CloseAbnormal, CloseTLSHandshake:
		return false
	}
	return closeCodes[c] != "" || c >= 3000 && c <= 4999
}

// A CloseError says how a WebSocket has ended.
type CloseError struct {
	// Code and Reason are those of the close frame that was sent first. CloseNoStatus means that it had no code, and CloseAbnormal that there
	// was none.
	Code   CloseCode
	Reason string
	// ByPeer says that the peer has sent that close frame.
	ByPeer bool
	// Err says why the connection has ended before the close handshake was complete. It is nil after a complete one, and when the peer has broken the
	// protocol, which Code and Reason say. It is an error of this package, of package server or of the system, and
	// io.ErrUnexpectedEOF if the peer has ended the connection without a close frame.
	Err error
}

// Error returns a text with all fields. Any goroutine.
func (e *CloseError) Error() string {
	s := "websocket: closed"
	if e.ByPeer {
		s += " by the peer"
	}
	s += " with " + e.Code.String()
	if e.Reason != "" {
		s += fmt.Sprintf(" (%q)", e.Reason)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns Err. Any goroutine.
func (e *CloseError) Unwrap() error { return e.Err }

// maxControl is the largest payload of a control frame, and maxReason that of the reason in a close frame.
const (
	maxControl = ws.MaxControlFramePayloadSize
	maxReason  = maxControl - 2
)

// appendClose appends the payload of a close frame. CloseNoStatus makes it empty.
func appendClose(b []byte, code CloseCode, reason string) []byte {
	if code == CloseNoStatus {
		return b
	}
	return append(binary.BigEndian.AppendUint16(b, uint16(code)), reason...)
}

// parseClose returns what the payload of the peer's close frame says.
func parseClose(p []byte) (*CloseError, error) {
	if len(p) == 0 {
		return &CloseError{Code: CloseNoStatus, ByPeer: true}, nil
	}
	if len(p) == 1 {
		return nil, violation(CloseProtocolError, "close frame with half a code")
	}
	status, reason := ws.ParseCloseFrameData(p)
	code := CloseCode(status)
	switch {
	case !code.maySend():
		return nil, violation(CloseProtocolError, "close frame with invalid code")
	case !utf8.ValidString(reason):
		return nil, violation(CloseInvalidData, "close frame whose reason is not UTF-8")
	}
	return &CloseError{Code: code, Reason: reason, ByPeer: true}, nil
}

// violation returns the end of a connection whose peer has broken a rule. The text is sent as the reason.
func violation(code CloseCode, text string) *CloseError { return &CloseError{Code: code, Reason: text} }
