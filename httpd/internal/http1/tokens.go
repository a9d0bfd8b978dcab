package http1

import (
	"net/http"
	"strings"
)

// closes reports whether the client asks the server to close the connection after the response.
func closes(req *http.Request) bool {
	connection := req.Header["Connection"]
	if HasToken(connection, "close") {
		return true
	}
	return !req.ProtoAtLeast(1, 1) && !HasToken(connection[:min(len(connection), 1)], "keep-alive") // the first field alone, as in package net/http
}

// HasToken reports whether a token is in one of the comma-separated lists. The case of ASCII letters is not significant.
func HasToken(lists []string, token string) bool {
	for _, list := range lists {
		if equalFold(list, token) {
			return true
		}
		for t := range strings.SplitSeq(list, ",") {
			if equalFold(trimSpace(t), token) {
				return true
			}
		}
	}
	return false
}

// HasWord is HasToken for one list that may be malformed: words may also be separated by spaces and tabs. Package net/http decides so when it
// looks for "close" before it sends the response.
func HasWord(list, word string) bool {
	if len(list) < len(word) {
		return false
	}
	for w := range strings.FieldsFuncSeq(list, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' }) {
		if equalFold(w, word) {
			return true
		}
	}
	return false
}

// equalFold reports whether s is word, which is in lower case, but for the case of ASCII letters. Unlike strings.EqualFold, it does not take
// the Kelvin sign for a k: "chun\u212aed" is no transfer coding, and a proxy does not take it for one.
func equalFold(s, word string) bool {
	if len(s) != len(word) {
		return false
	}
	for i := range len(s) {
		b := s[i]
		if 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		if b != word[i] {
			return false
		}
	}
	return true
}
