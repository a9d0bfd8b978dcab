package httpd

import "net/http"

// sniffed is the number of bytes at the beginning of the body by which the type of the content is found.
const sniffed = 512

// The classes of bytes by which contentType finds plain text, as bits.
const (
	textByte  = 1 << iota // of text: no control character, except for those that are in texts
	plainByte             // no signature of http.DetectContentType begins with it, also after white space
)

var contentBytes = func() (t [256]uint8) {
	for b := range 256 {
		if b >= ' ' || b == '\t' || b == '\n' || b == '\f' || b == '\r' || b == 0x1b {
			t[b] = textByte
		}
	}
	for b := byte('0'); b <= '9'; b++ {
		t[b] |= plainByte
	}
	for b := byte('a'); b <= 'z'; b++ {
		if b != 't' && b != 'w' { // ttcf, wOFF and wOF2: fonts
			t[b] |= plainByte
		}
	}
	for _, b := range []byte(`{["`) { // JSON
		t[b] |= plainByte
	}
	return t
}()

// contentType returns what http.DetectContentType returns, which compares the content with some fifty signatures. It finds sooner that a text
// or JSON is plain text: then there are no control characters, and no signature begins as the content does.
func contentType(first []byte) string {
	if isPlainText(first[:min(len(first), sniffed)]) {
		return "text/plain; charset=utf-8"
	}
	return http.DetectContentType(first)
}

// isPlainText reports whether the content is known to be plain text.
func isPlainText(p []byte) bool {
	if len(p) == 0 || contentBytes[p[0]]&plainByte == 0 {
		return false
	}
	if len(p) >= 36 && p[34] == 'L' && p[35] == 'P' { // an embedded font, whose first 34 bytes are arbitrary
		return false
	}
	for _, b := range p {
		if contentBytes[b]&textByte == 0 {
			return false
		}
	}
	return true
}
