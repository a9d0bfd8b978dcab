package httpd

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
)

// A body is refused if the status permits none, before the head was sent and afterwards, also from a broadcast.
func TestABodyThatTheStatusForbidsIsRefused(t *testing.T) {
	handler, parked := parking(t, nil)
	addr := start(t, &Server{Handler: handler})
	for _, status := range []int{http.StatusNoContent, http.StatusNotModified} {
		c := dial(t, addr)
		c.send(get("/"))
		p, group := testkit.Await(t, parked, "the request"), NewGroup(nil)
		testkit.Must(t, group.Add(p))
		p.WriteHeader(status)
		for range 2 {
			_, err := p.WriteString("text")
			testkit.CheckErr(t, "Write", err, http.ErrBodyNotAllowed)
			for _, done := range []func(*Parked, error){nil, func(*Parked, error) { t.Error("done was called") }} {
				refused := group.Broadcast([]byte("text"), done)
				if len(refused) != 1 || !errors.Is(refused[0], http.ErrBodyNotAllowed) {
					t.Errorf("Broadcast: %v", refused)
				}
			}
			p.Flush()
		}
		testkit.Must(t, p.Close())
		c.send(get("/", "Connection: close\r\n"))
		testkit.Must(t, testkit.Await(t, parked, "the next request").Close())
		if text := c.rest(); strings.Count(text, "HTTP/1.1 ") != 2 || strings.Contains(text, "text") {
			t.Errorf("status %d: the responses are %q", status, text)
		}
	}
}
