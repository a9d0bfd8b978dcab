package http1

import (
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
)

// ParseRequest parses a head that a Framing has found, and sets the fields of req that it determines: all that package net/http sets from
// a head, but not Body and RemoteAddr. ContentLength is -1 for a chunked body. req keeps the string. If req.URL is not nil, ParseRequest
// usually sets that URL in place and does not replace it, so that the caller can provide its memory.
//
// Errors: a *StatusError.
func ParseRequest(head string, req *http.Request) error {
	head = strings.TrimPrefix(head, "\r\n")
	line, fields, ok := cutLine(head)
	if !ok {
		return badRequest("malformed request line")
	}
	if err := parseRequestLine(line, req); err != nil {
		return err
	}
	hosts, err := parseFields(fields, req)
	if err != nil {
		return err
	}
	if err := setLength(req); err != nil {
		return err
	}
	if err := setHost(hosts, req); err != nil {
		return err
	}
	req.Close = closes(req)
	if _, ok := req.Header["Cache-Control"]; !ok { // RFC 7234, section 5.4, as in package net/http
		if p := req.Header["Pragma"]; len(p) > 0 && p[0] == "no-cache" {
			req.Header["Cache-Control"] = []string{"no-cache"}
		}
	}
	return nil
}

// parseRequestLine parses the method, the target and the version.
func parseRequestLine(line string, req *http.Request) error {
	method, rest, ok1 := strings.Cut(line, " ")
	target, proto, ok2 := strings.Cut(rest, " ")
	if !ok1 || !ok2 || !IsToken(method) {
		return badRequest("malformed request line")
	}
	major, minor, ok := parseVersion(proto)
	switch {
	case !ok:
		return badRequest("malformed HTTP version")
	case major != 1:
		return &StatusError{http.StatusHTTPVersionNotSupported, "unsupported protocol version"}
	case target == "" || !consistsOf(target, targetByte):
		return badRequest("malformed request target")
	}
	req.Method, req.RequestURI = method, target
	req.Proto, req.ProtoMajor, req.ProtoMinor = proto, major, minor
	return parseTarget(target, req)
}

// parseVersion parses the version of a request line, which has two digits, as in package net/http.
func parseVersion(s string) (major, minor int, ok bool) {
	switch s {
	case "HTTP/1.1":
		return 1, 1, true
	case "HTTP/1.0":
		return 1, 0, true
	}
	return http.ParseHTTPVersion(s)
}

// parseTarget sets URL. The target of CONNECT is an authority, unless it begins with a slash.
func parseTarget(target string, req *http.Request) error {
	if setPlainPath(target, req) {
		return nil
	}
	isAuthority := req.Method == http.MethodConnect && target[0] != '/'
	if isAuthority {
		target = "http://" + target
	}
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return badRequest("malformed request target")
	}
	if isAuthority {
		u.Scheme = ""
	}
	req.URL = u
	return nil
}

// setPlainPath sets URL, which req has already, if the target is a path, and perhaps a query, in which nothing is escaped: the usual case. It
// reports whether it has set the URL.
func setPlainPath(target string, req *http.Request) bool {
	if req.URL == nil || target[0] != '/' || len(target) > 1 && target[1] == '/' {
		return false
	}
	path, query, hasQuery := strings.Cut(target, "?")
	if !consistsOf(path, pathByte) || hasQuery && query == "" {
		return false
	}
	*req.URL = url.URL{Path: path, RawQuery: query}
	return true
}

// parseFields parses the header lines, the last of which is empty. Host is not added to Header: package net/http removes it, too. It returns
// the number of lines of Host.
func parseFields(fields string, req *http.Request) (hosts int, err error) {
	n := strings.Count(fields, "\n") - 1
	req.Header = make(http.Header, max(n-1, 0)) // most requests have a Host
	var values []string
	for {
		line, rest, ok := cutLine(fields)
		if !ok {
			return 0, badRequest("malformed header")
		}
		if line == "" {
			return hosts, nil
		}
		fields = rest
		colon := strings.IndexByte(line, ':')
		if colon < 0 || !IsToken(line[:colon]) { // also a folded line, and space before the colon
			return 0, badRequest("invalid header name")
		}
		value := trimSpace(line[colon+1:])
		if !consistsOf(value, valueByte) {
			return 0, badRequest("invalid header value")
		}
		name := textproto.CanonicalMIMEHeaderKey(line[:colon])
		if name == "Host" {
			req.Host = value
			hosts++
			continue
		}
		if old := req.Header[name]; old != nil {
			req.Header[name] = append(old, value) // old has no room, so that it is copied
			continue
		}
		if values == nil {
			values = make([]string, 0, n)
		}
		values = append(values, value)
		last := len(values)
		req.Header[name] = values[last-1 : last : last]
	}
}

// cutLine returns the first line of s, without its end, and the rest. ok reports whether there is one. A carriage return within the line is
// returned with it.
func cutLine(s string) (line, rest string, ok bool) {
	i := strings.IndexByte(s, '\n')
	if i < 1 || s[i-1] != '\r' {
		return "", "", false
	}
	return s[:i-1], s[i+1:], true
}

// trimSpace removes the spaces and tabs around a value.
func trimSpace(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// setHost checks and sets Host, of which the header has n lines, with the value in Host.
func setHost(n int, req *http.Request) error {
	switch {
	case n > 1:
		return badRequest("too many Host headers")
	case n == 0 && req.ProtoAtLeast(1, 1) && req.Method != http.MethodConnect:
		return badRequest("missing required Host header")
	case !consistsOf(req.Host, hostByte):
		return badRequest("malformed Host header")
	}
	if req.URL.Host != "" {
		req.Host = req.URL.Host
	}
	return nil
}

// setLength sets ContentLength, TransferEncoding and Trailer.
func setLength(req *http.Request) error {
	encodings, isEncoded := req.Header["Transfer-Encoding"]
	lengths, hasLength := req.Header["Content-Length"]
	switch {
	case isEncoded:
		switch {
		case !req.ProtoAtLeast(1, 1):
			return badRequest("Transfer-Encoding in HTTP/1.0")
		case len(encodings) != 1 || !equalFold(encodings[0], "chunked"):
			return &StatusError{http.StatusNotImplemented, "unsupported transfer encoding"}
		case hasLength:
			return badRequest("both Content-Length and Transfer-Encoding")
		}
		delete(req.Header, "Transfer-Encoding")
		req.TransferEncoding = []string{"chunked"}
		req.ContentLength = -1
		return setTrailer(req)
	case hasLength:
		if len(lengths) != 1 {
			return badRequest("more than one Content-Length")
		}
		n, ok := parseLength(lengths[0])
		if !ok {
			return badRequest("malformed Content-Length")
		}
		req.ContentLength = n
	}
	return nil
}

// parseLength parses a Content-Length: digits only.
func parseLength(s string) (n int64, ok bool) {
	if s == "" || s[0] < '0' || s[0] > '9' {
		return 0, false
	}
	v, err := strconv.ParseUint(s, 10, 63)
	return int64(v), err == nil
}

// setTrailer sets Trailer from the field of that name, which is removed from Header.
func setTrailer(req *http.Request) error {
	lists, ok := req.Header["Trailer"]
	if !ok {
		return nil
	}
	delete(req.Header, "Trailer")
	trailer := make(http.Header)
	for _, list := range lists {
		for key := range strings.SplitSeq(list, ",") {
			key = textproto.CanonicalMIMEHeaderKey(strings.Trim(key, " \t"))
			switch {
			case key == "":
				continue
			case !MayBeTrailer(key) || !IsToken(key):
				return badRequest("bad trailer key")
			}
			trailer[key] = nil
		}
	}
	if len(trailer) > 0 {
		req.Trailer = trailer
	}
	return nil
}

// MayBeTrailer reports whether the field with this canonical name may be in a trailer: it neither frames nor routes the message. See RFC
// 9110, section 6.5.1.
func MayBeTrailer(key string) bool {
	switch key {
	case "Transfer-Encoding", "Trailer", "Content-Length", "Host", "Authorization", "Cache-Control", "Connection", "Content-Encoding",
		"Content-Range", "Content-Type", "Expect", "Keep-Alive", "Max-Forwards", "Pragma", "Proxy-Authenticate", "Proxy-Authorization",
		"Proxy-Connection", "Range", "Realm", "Te", "Www-Authenticate":
		return false
	}
	return !strings.HasPrefix(key, "If-")
}
