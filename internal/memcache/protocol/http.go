package protocol

// IsHTTP reports whether line, without its end, is the first line of an HTTP request: three words or more, the last of which is
// HTTP/1.0, HTTP/1.1 or another 1.x. The first word does not matter, because HTTP allows any method.
//
// The body of a forged request follows on the same connection, and its lines may be commands. So the connection has to be closed at such
// a line. Any goroutine.
func IsHTTP(line []byte) bool {
	const ending = " HTTP/1."
	n := len(line)
	for n > 0 && line[n-1] == ' ' {
		n--
	}
	at := n - len(ending) - 1
	if at <= 0 || line[n-4] != '/' || string(line[at:n-1]) != ending || line[n-1] < '0' || line[n-1] > '9' {
		return false
	}
	_, rest, _ := NextKey(line[:at])
	_, _, target := NextKey(rest)
	return target
}

// namesHTTP reports whether the last word of an unknown command's line begins with HTTP/. This is memcached's rule; it considers the first
// maxTokens-1 words only.
func namesHTTP(line []byte) bool {
	var last []byte
	for range maxTokens - 1 {
		word, rest, ok := NextKey(line)
		if !ok {
			break
		}
		last, line = word, rest
	}
	const prefix = "HTTP/"
	return len(last) >= len(prefix) && string(last[:len(prefix)]) == prefix
}
