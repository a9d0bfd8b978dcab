package http1

// The classes of bytes, as bits. See RFC 9110, section 5.
const (
	tokenByte  = 1 << iota // of a method or a field name
	valueByte              // of a field value: visible, space, tab, and bytes above ASCII
	targetByte             // of a request target: visible, and bytes above ASCII
	pathByte               // of a path: those that package net/url never escapes
	hostByte               // of a host and port: RFC 3986, section 3.2.2
)

var classes = func() (t [256]uint8) {
	for c := range 256 {
		if c > ' ' && c != 0x7f {
			t[c] |= valueByte | targetByte
		}
	}
	t[' '] |= valueByte
	t['\t'] |= valueByte
	for c := '0'; c <= '9'; c++ {
		t[c] |= tokenByte | hostByte | pathByte
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c] |= tokenByte | hostByte | pathByte
		t[c-'a'+'A'] |= tokenByte | hostByte | pathByte
	}
	for _, c := range []byte("!#$%&'*+-.^_`|~") {
		t[c] |= tokenByte
	}
	for _, c := range []byte("-_./~") {
		t[c] |= pathByte
	}
	for _, c := range []byte("!$%&'()*+,-.:;=[]_~") { // net/http accepts these in a Host header
		t[c] |= hostByte
	}
	return t
}()

// consistsOf reports whether all bytes of s are of the class.
func consistsOf(s string, class uint8) bool {
	for i := range len(s) {
		if classes[s[i]]&class == 0 {
			return false
		}
	}
	return true
}

// IsToken reports whether s is a token of RFC 9110, section 5.6.2.
func IsToken(s string) bool { return s != "" && consistsOf(s, tokenByte) }
