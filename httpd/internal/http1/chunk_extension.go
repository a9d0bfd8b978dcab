package http1

// areExtensions reports whether s is the chunk extensions of RFC 9112, section 7.1.1, which may be none: each a semicolon, a name, and
// perhaps an equals sign and a value, with spaces and tabs around the signs.
func areExtensions(s []byte) bool {
	for len(s) > 0 {
		var ok bool
		if s, ok = afterSign(s, ';'); !ok {
			return false
		}
		if s, ok = afterToken(s); !ok {
			return false
		}
		rest, ok := afterSign(s, '=')
		if !ok {
			continue
		}
		if s, ok = afterValue(rest); !ok {
			return false
		}
	}
	return true
}

// afterSign returns what follows a sign and the spaces around it.
func afterSign(s []byte, sign byte) (rest []byte, ok bool) {
	i := skipSpace(s)
	if i == len(s) || s[i] != sign {
		return s, false
	}
	s = s[i+1:]
	return s[skipSpace(s):], true
}

// skipSpace returns the number of spaces and tabs at the start of s.
func skipSpace(s []byte) int {
	i := 0
	for i < len(s) && (s[i] == ' ' || s[i] == '\t') {
		i++
	}
	return i
}

// afterToken returns what follows a token.
func afterToken(s []byte) (rest []byte, ok bool) {
	i := 0
	for i < len(s) && classes[s[i]]&tokenByte != 0 {
		i++
	}
	return s[i:], i > 0
}

// afterValue returns what follows a token or a quoted string.
func afterValue(s []byte) (rest []byte, ok bool) {
	if len(s) == 0 || s[0] != '"' {
		return afterToken(s)
	}
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return s[i+1:], true
		case '\\':
			i++ // the next byte has no meaning
			if i == len(s) {
				return nil, false
			}
		}
		if classes[s[i]]&valueByte == 0 {
			return nil, false
		}
	}
	return nil, false
}
