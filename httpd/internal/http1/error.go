package http1

import (
	"fmt"
	"net/http"
)

// A StatusError reports that a request is refused with an HTTP status. The connection has to be closed after the response, since the end
// of the request is not known.
type StatusError struct {
	Status int    // the status of the response
	Text   string // what is wrong, for the client; may be empty
}

// Error returns the status and the text.
func (e *StatusError) Error() string {
	if e.Text == "" {
		return fmt.Sprintf("http1: %d %s", e.Status, http.StatusText(e.Status))
	}
	return fmt.Sprintf("http1: %d %s: %s", e.Status, http.StatusText(e.Status), e.Text)
}

// badRequest is a StatusError for a request that is not HTTP.
func badRequest(text string) error { return &StatusError{http.StatusBadRequest, text} }
