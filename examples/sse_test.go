package examples_test

import (
	"bufio"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
)

// A reader reads the stream of notes, as a page does.
type reader struct {
	t    *testing.T
	body io.ReadCloser
	in   *bufio.Reader
}

// read opens the stream after the event with the ID last.
func read(t *testing.T, addr, query, last string) *reader {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, "http://"+addr+"/events"+query, nil)
	testkit.Must(t, err)
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	resp, err := http.DefaultClient.Do(req)
	testkit.Must(t, err)
	if kind := resp.Header.Get("Content-Type"); kind != "text/event-stream" {
		t.Errorf("the stream has the type %q", kind)
	}
	t.Cleanup(func() { _ = resp.Body.Close() }) // the test is over
	return &reader{t, resp.Body, bufio.NewReader(resp.Body)}
}

// next reads the next note, and returns its ID.
func (r *reader) next(want string) (id string) {
	r.t.Helper()
	var data []string
	for {
		line, err := r.in.ReadString('\n')
		if err != nil {
			r.t.Fatalf("instead of %q: %v", want, err)
		}
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch {
		case field == "data":
			data = append(data, value)
		case field == "id":
			id = value
		case line == "\n" && data != nil:
			if text := strings.Join(data, "\n"); text != want {
				r.t.Fatalf("the note is %q, not %q", text, want)
			}
			return id
		}
	}
}

// note posts a note.
func note(t *testing.T, addr, text string) {
	t.Helper()
	resp, err := http.PostForm("http://"+addr+"/notes", url.Values{"text": {text}})
	testkit.Must(t, err)
	_ = resp.Body.Close() // it has none
	if resp.StatusCode != http.StatusNoContent {
		t.Errorf("the note %q has the response %s", text, resp.Status)
	}
}

// Each page gets each note, and one that connects again those that it has missed. A long poll gets the next note. The end of the server ends the
// streams in order.
func TestSSEPassesNotesToAllReaders(t *testing.T) {
	p := start(t, build(t, "sse"), "-addr", "127.0.0.1:0", "-keepalive", "10ms")
	addr := p.line("listening on ")
	status, header, body := fetch(t, http.DefaultClient, "http://"+addr+"/")
	if status != http.StatusOK || !strings.Contains(string(body), "<title>Notes</title>") || header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("the page is %d %q", status, header)
	}
	first, second := read(t, addr, "", ""), read(t, addr, "", "")
	for { // until the comment of the keep-alive
		line, err := first.in.ReadString('\n')
		testkit.Must(t, err)
		if line == ":\n" {
			break
		}
	}
	note(t, addr, "one\ntwo")
	seen := first.next("one\ntwo")
	second.next("one\ntwo")
	_ = second.body.Close() // by intention
	note(t, addr, "three")
	first.next("three")
	for _, again := range []*reader{read(t, addr, "", seen), read(t, addr, "?last="+seen, "")} {
		again.next("three")
		_ = again.body.Close() // by intention
	}

	polled := make(chan string, 1)
	go func() {
		status, _, body := fetch(t, http.DefaultClient, "http://"+addr+"/next")
		polled <- http.StatusText(status) + " " + string(body)
	}()
	for waits := true; waits; { // the poll may not have begun
		note(t, addr, "four")
		first.next("four")
		select {
		case text := <-polled:
			testkit.WantEqual(t, "response to the poll", text, "OK four\n")
			waits = false
		case <-time.After(time.Millisecond):
		}
	}
	p.signal(syscall.SIGTERM)
	if _, err := io.ReadAll(first.in); err != nil {
		t.Errorf("the stream is not complete: %v", err)
	}
	http.DefaultClient.CloseIdleConnections()
	p.wait()
}

// The response to a long poll without a note is 204, and a note that is no text is refused.
func TestALongPollEndsWithoutANote(t *testing.T) {
	p := start(t, build(t, "sse"), "-addr", "127.0.0.1:0", "-wait", "1ms")
	addr := p.line("listening on ")
	if status, _, body := fetch(t, http.DefaultClient, "http://"+addr+"/next"); status != http.StatusNoContent || len(body) > 0 {
		t.Errorf("the response to the poll is %d %q", status, body)
	}
	for _, text := range []string{"", " \n", "\xff", strings.Repeat("x", 5000)} {
		resp, err := http.PostForm("http://"+addr+"/notes", url.Values{"text": {text}})
		testkit.Must(t, err)
		_ = resp.Body.Close() // the status says it
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("the note %.10q has the response %s", text, resp.Status)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	p.signal(syscall.SIGTERM)
	p.wait()
}
