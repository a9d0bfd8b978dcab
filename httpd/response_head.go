package httpd

import (
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/evmq/evmq/httpd/internal/http1"
)

// A head says how the head of a response differs from the fields that the handler has set.
type head struct {
	length      int64     // the Content-Length to add; -1 for none
	contentType string    // the Content-Type to add; "" for none
	connection  string    // the value of Connection to add; "" for none
	excluded    [8]string // excluded[:excludes] are the fields of the handler that are not sent
	excludes    int
}

// exclude leaves out fields of the handler.
func (h *head) exclude(names ...string) { h.excludes += copy(h.excluded[h.excludes:], names) }

var headBuffers = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

// writeHead sends the head and body, which has the gathered bytes. If isDone is set, these are all of the body. first has the
// bytes at the beginning of the body from which the Content-Type is detected.
func (r *response) writeHead(first, body []byte) {
	header := r.snapshot
	h := head{length: -1}
	r.announceTrailers(header)
	te := firstValue(header["Transfer-Encoding"])
	_, hasLength := header["Content-Length"] // a key without values means that none is to be added
	if r.isDone && len(r.trailers) == 0 && te == "" && allowsBody(r.status) && !hasLength && (!r.isHEAD || len(body) > 0) {
		r.length = int64(len(body))
		h.length = r.length
	}
	r.decideReuse(&h, header)
	r.consumeBody(&h)
	r.decideContentType(&h, header, te, first)
	r.decideFraming(&h, te)
	if r.closes && !http1.HasWord(firstValue(header["Connection"]), "close") && r.status != http.StatusSwitchingProtocols {
		h.exclude("Connection")
		switch {
		case r.is11:
			h.connection = "close"
		case h.connection == "keep-alive":
			h.connection = ""
		}
	}
	p := headBuffers.Get().(*[]byte)
	b := appendStatus((*p)[:0], r.is11, r.status)
	b = appendFields(b, header, h.excluded[:h.excludes])
	b = r.appendAdded(b, &h, header)
	b = r.appendBody(b, body)
	_, _ = r.output(b) // the error is kept
	*p = b
	headBuffers.Put(p)
}

// appendBody appends bytes of the body, in the form in which they are sent.
func (r *response) appendBody(b, body []byte) []byte {
	switch {
	case r.isHEAD || !allowsBody(r.status) || len(body) == 0:
		return b
	case !r.chunked:
		return append(b, body...)
	}
	b = append(strconv.AppendInt(b, int64(len(body)), 16), "\r\n"...)
	return append(append(b, body...), "\r\n"...)
}

// firstValue returns the first value of a field, or "".
func firstValue(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// announceTrailers records the fields of the trailer that the header names.
func (r *response) announceTrailers(header http.Header) {
	for key := range header {
		if strings.HasPrefix(key, http.TrailerPrefix) {
			r.trailers = append(r.trailers, "") // there is a trailer, although no name is announced
			break
		}
	}
	for _, list := range header["Trailer"] {
		for key := range strings.SplitSeq(list, ",") {
			key = textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(key))
			if key != "" && http1.MayBeTrailer(key) {
				r.trailers = append(r.trailers, key)
			}
		}
	}
}

// decideReuse decides whether the connection is closed after the response.
func (r *response) decideReuse(h *head, header http.Header) {
	_, hasConnection := header["Connection"]
	switch {
	case r.wantsKeep10 && (r.isHEAD || r.length >= 0 || !allowsBody(r.status)):
		if !hasConnection {
			h.connection = "keep-alive"
		}
	case !r.is11:
		r.closes = true
	}
	if firstValue(header["Connection"]) == "close" || !r.c.h.s.keepsAlive() {
		r.closes = true
	}
	if r.reqBody.isExpected() {
		r.closes = true
	}
}

// consumeBody reads the rest of the request's body, unless it is long: many clients read no response before they have sent the whole request.
func (r *response) consumeBody(h *head) {
	if r.reqBody == nil || r.closes || r.fullDuplex {
		return
	}
	if !r.reqBody.discardRest() {
		r.closes = true
		h.exclude("Connection")
		h.connection = "close"
	}
}

// decideContentType detects the Content-Type, if the handler has not set it.
func (r *response) decideContentType(h *head, header http.Header, te string, first []byte) {
	if !allowsBody(r.status) {
		h.exclude("Content-Length", "Transfer-Encoding")
		if r.status == http.StatusNotModified {
			h.exclude("Content-Type")
		}
		return
	}
	if _, ok := header["Content-Type"]; !ok && firstValue(header["Content-Encoding"]) == "" && te == "" && len(first) > 0 {
		h.contentType = contentType(first)
	}
}

// decideFraming decides how the end of the body is marked.
func (r *response) decideFraming(h *head, te string) {
	if r.length >= 0 && te != "" && te != "identity" {
		r.c.h.s.logf("httpd: WriteHeader called with both Transfer-Encoding of %q and a Content-Length of %d", te, r.length)
		h.exclude("Content-Length")
		r.length, h.length = -1, -1
	}
	switch {
	case r.isHEAD || !allowsBody(r.status) || r.length >= 0:
		h.exclude("Transfer-Encoding")
	case r.is11 && te == "identity":
		r.closes = true
		h.exclude("Transfer-Encoding")
	case r.is11:
		r.chunked = true
		if te == "chunked" || te == "" {
			h.exclude("Transfer-Encoding")
		}
		h.exclude("Content-Length")
	default:
		r.closes = true
		h.exclude("Transfer-Encoding")
	}
}

// appendStatus appends the status line.
func appendStatus(b []byte, is11 bool, status int) []byte {
	if is11 {
		b = append(b, "HTTP/1.1 "...)
	} else {
		b = append(b, "HTTP/1.0 "...)
	}
	if text := http.StatusText(status); text != "" {
		b = strconv.AppendInt(b, int64(status), 10)
		return append(append(append(b, ' '), text...), "\r\n"...)
	}
	return fmt.Appendf(b, "%03d status code %d\r\n", status, status)
}

// appendFields appends the fields of a header, sorted, except for those in exclude and those of the trailer.
func appendFields(b []byte, header http.Header, exclude []string) []byte {
	if len(header) == 0 {
		return b
	}
	var array [16]string
	keys := array[:0]
	for key := range header {
		if !slices.Contains(exclude, key) && !strings.HasPrefix(key, http.TrailerPrefix) && http1.IsToken(key) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		for _, value := range header[key] {
			b = append(append(append(append(b, key...), ": "...), cleanValue(value)...), "\r\n"...)
		}
	}
	return b
}

var lineEnds = strings.NewReplacer("\n", " ", "\r", " ")

// cleanValue returns a value without ends of line, since a handler may have got it from a client that wants to add fields or a body to the
// response.
func cleanValue(value string) string {
	if strings.ContainsAny(value, "\r\n") {
		value = lineEnds.Replace(value)
	}
	return textproto.TrimString(value)
}

// appendAdded appends the fields that the server adds, and the empty line.
func (r *response) appendAdded(b []byte, h *head, header http.Header) []byte {
	if _, ok := header["Date"]; !ok {
		b = append(append(append(b, "Date: "...), dateNow()...), "\r\n"...)
	}
	if h.length >= 0 {
		b = append(strconv.AppendInt(append(b, "Content-Length: "...), h.length, 10), "\r\n"...)
	}
	if h.contentType != "" {
		b = append(append(append(b, "Content-Type: "...), h.contentType...), "\r\n"...)
	}
	if h.connection != "" {
		b = append(append(append(b, "Connection: "...), h.connection...), "\r\n"...)
	}
	if r.chunked {
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	return append(b, "\r\n"...)
}

// sendInformational sends a response with a status below 200, which precedes the final one.
func (r *response) sendInformational(status int) {
	if status == http.StatusContinue {
		r.reqBody.stopContinue()
	}
	b := appendStatus(nil, r.is11, status)
	b = appendFields(b, r.header, []string{"Content-Length", "Transfer-Encoding"})
	if _, err := r.output(append(b, "\r\n"...)); err == nil {
		r.flushOutput()
	}
}

// sendContinue tells the client to send the body.
func (r *response) sendContinue() {
	if _, err := r.output([]byte("HTTP/1.1 100 Continue\r\n\r\n")); err == nil {
		r.flushOutput()
	}
}

// sendTrailer sends the last chunk and the trailer.
func (r *response) sendTrailer() {
	_, _ = r.output(appendTrailer(nil, r.header, r.trailers)) // the error is kept
}

// appendTrailer appends the end of a chunked body, with those fields of header that are announced or begin with http.TrailerPrefix.
func appendTrailer(b []byte, header http.Header, announced []string) []byte {
	b = append(b, "0\r\n"...)
	if len(header) == 0 {
		return append(b, "\r\n"...)
	}
	trailer := make(http.Header)
	for _, key := range announced {
		if values, ok := header[key]; ok {
			trailer[key] = values
		}
	}
	for key, values := range header {
		if name, ok := strings.CutPrefix(key, http.TrailerPrefix); ok {
			trailer[textproto.CanonicalMIMEHeaderKey(name)] = values
		}
	}
	if len(trailer) > 0 {
		b = appendFields(b, trailer, nil)
	}
	return append(b, "\r\n"...)
}

var _ io.Writer = (*response)(nil)
