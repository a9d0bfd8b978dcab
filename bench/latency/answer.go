//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// An answer is what has arrived of the answer to a request.
type answer struct {
	got  int    // bytes, or with HTTP those of the body
	body int    // with HTTP: the length of the body, when the head is complete
	head []byte // with HTTP: the head while it is not complete
	has  bool   // with HTTP: the head is complete
}

// take takes the bytes at the beginning of data that belong to the answer. It returns their number, and whether the answer is complete then.
func (a *answer) take(data, request []byte, isHTTP bool) (n int, done bool, err error) {
	if isHTTP {
		return a.takeHTTP(data)
	}
	want := request[a.got:]
	n = min(len(want), len(data))
	if !bytes.Equal(data[:n], want[:n]) {
		return n, false, fmt.Errorf("the server answered %q, want %q", data[:n], want[:n])
	}
	a.got += n
	return n, n == len(want), nil
}

// takeHTTP is take for an answer of HTTP/1 with a Content-Length.
func (a *answer) takeHTTP(data []byte) (n int, done bool, err error) {
	if !a.has {
		if n, err = a.takeHead(data); err != nil || !a.has {
			return n, false, err
		}
	}
	m := min(a.body-a.got, len(data)-n)
	a.got += m
	return n + m, a.got == a.body, nil
}

var endOfHead = []byte("\r\n\r\n")

// maxHead is the limit of a head.
const maxHead = 64 << 10

// takeHead takes bytes of the head, and parses it when it is complete.
func (a *answer) takeHead(data []byte) (n int, err error) {
	head := data
	if len(a.head) > 0 {
		a.head = append(a.head, data...)
		head = a.head
	}
	end := bytes.Index(head, endOfHead)
	switch {
	case end < 0 && len(head) > maxHead:
		return 0, fmt.Errorf("the head of an answer exceeds %d bytes", maxHead)
	case end < 0 && len(a.head) == 0:
		a.head = append(a.head, data...)
		return len(data), nil
	case end < 0:
		return len(data), nil
	}
	n = end + len(endOfHead) - (len(head) - len(data))
	a.body, err = parseHead(head[:end])
	a.has, a.head = err == nil, a.head[:0]
	return n, err
}

// parseHead returns the length of the body of an answer with the status 200.
func parseHead(head []byte) (int, error) {
	status, fields, _ := bytes.Cut(head, []byte("\r\n"))
	if !bytes.HasPrefix(status, []byte("HTTP/1.1 200 ")) {
		return 0, fmt.Errorf("the server answered %q, want the status 200", status)
	}
	length := -1
	for line := range bytes.SplitSeq(fields, []byte("\r\n")) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			return 0, errors.New("the server answers in chunks; only answers with a Content-Length are supported")
		case bytes.EqualFold(name, []byte("Connection")) && bytes.EqualFold(bytes.TrimSpace(value), []byte("close")):
			return 0, errors.New("the server closes the connection after an answer")
		case bytes.EqualFold(name, []byte("Content-Length")):
			n, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 10, 31)
			if err != nil || length >= 0 {
				return 0, fmt.Errorf("the server answered %q", head)
			}
			length = int(n)
		}
	}
	if length < 0 {
		return 0, fmt.Errorf("the answer has no Content-Length: %q", head)
	}
	return length, nil
}

// httpRequest returns a GET request for path.
func httpRequest(path string) ([]byte, error) {
	if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, " \r\n") {
		return nil, fmt.Errorf("%q is not the path of an HTTP request", path)
	}
	return []byte("GET " + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n"), nil
}
