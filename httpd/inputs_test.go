package httpd

import (
	"bufio"
	"embed"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
)

// testdata/inputs has the inputs of public test suites for HTTP/1 servers, one file for each repository, with the file of that repository in a line that
// begins with "from". Each other line is
//
//	OUTCOME ["net/http" OUTCOME REASON] INPUT
//
// OUTCOME is the statuses of the responses, or "-" for none; 422 is the handler's response to a request whose body cannot be read. Without
// the part in brackets, package net/http gives the same responses. REASON is a key of differences. INPUT is a Go string; the client
// sends nothing after it.
//
//go:embed testdata/inputs
var inputFiles embed.FS

// differences has the reasons for which the responses to an input differ, as the package documentation states them.
var differences = map[string]string{
	"lf": "a line feed without a carriage return", "fold": "a folded line in the head or in a trailer", "trailer-space": "a space before the colon in a trailer",
	"lengths": "more than one Content-Length even if they are equal", "length-and-encoding": "Content-Length beside Transfer-Encoding",
	"encoding-1.0": "Transfer-Encoding in HTTP/1.0", "chunk-extension": "chunk extensions that do not follow the grammar of RFC 9112",
	"empty-lines": "more than one empty line before a request", "trailer-name": "a field Trailer that announces a field which a trailer must not have, such as Host",
	"preface": "the preface of HTTP/2 without TLS", "empty-line": "One empty line before a request is ignored", "chunk-space": "A space or a tab before the semicolon of a chunk extension is ignored",
	"trailer-field": "Fields that a trailer must not have, such as Host, are left out of Request.Trailer", "cut": "A client that closes its sending half within the head of a request gets 400",
}

// A publicInput is a line of testdata/inputs.
type publicInput struct {
	place        string // file and line
	input        string
	ours, theirs string // outcomes
	reason       string
}

// publicInputs returns all lines of testdata/inputs.
func publicInputs(t *testing.T) (inputs []publicInput) {
	t.Helper()
	files, err := inputFiles.ReadDir("testdata/inputs")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := inputFiles.ReadFile("testdata/inputs/" + file.Name())
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(text), "\n") {
			if line == "" || line[0] == '#' || strings.HasPrefix(line, "from ") {
				continue
			}
			in, err := parseInput(line)
			if in.place = fmt.Sprintf("%s:%d", file.Name(), i+1); err != nil {
				t.Fatalf("%s: %v", in.place, err)
			}
			inputs = append(inputs, in)
		}
	}
	return inputs
}

func parseInput(line string) (in publicInput, err error) {
	start := strings.IndexByte(line, '"')
	if start < 0 {
		return in, fmt.Errorf("%q has no input", line)
	}
	if in.input, err = strconv.Unquote(line[start:]); err != nil {
		return in, fmt.Errorf("%s: %w", line[start:], err)
	}
	switch words := strings.Fields(line[:start]); {
	case len(words) == 1:
		in.ours, in.theirs = words[0], words[0]
	case len(words) == 4 && words[1] == "net/http":
		in.ours, in.theirs, in.reason = words[0], words[2], words[3]
	default:
		return in, fmt.Errorf("%q is not an outcome", line[:start])
	}
	return in, nil
}

// inputHandler responds with what it has seen of the request, or with 422 if the body cannot be read.
func inputHandler(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		http.Error(w, "body", http.StatusUnprocessableEntity)
		return
	}
	fmt.Fprintf(w, "%s %q %q host %q body %q trailer %q\n", req.Method, req.RequestURI, req.Proto, req.Host, body, req.Trailer)
	_ = req.Header.Write(w) // a failure is seen by the client
}

// outcome returns the statuses of the responses in raw.
func outcome(raw string, methods []string) string {
	var statuses []string
	r := bufio.NewReader(strings.NewReader(raw))
	for i := 0; ; {
		if _, err := r.Peek(1); err != nil {
			break
		}
		req := &http.Request{Method: http.MethodGet}
		if i < len(methods) {
			req.Method = methods[i]
		}
		resp, err := http.ReadResponse(r, req)
		if err != nil {
			statuses = append(statuses, "malformed")
			break
		}
		_, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close() // it was read
		if resp.StatusCode >= http.StatusOK {
			i++
		}
		status := strconv.Itoa(resp.StatusCode)
		if err != nil {
			status += "(cut)"
		}
		statuses = append(statuses, status)
	}
	if len(statuses) == 0 {
		return "-"
	}
	return strings.Join(statuses, ",")
}

func TestPublicInputsAreServedAsByNetHTTPOrAsDocumented(t *testing.T) {
	theirs, ours := startPeers(t, http.HandlerFunc(inputHandler))
	used := make(map[string]bool)
	for _, in := range publicInputs(t) {
		methods := methodsOf(in.input)
		a, b := ours.exchangeRaw(t, in.input), theirs.exchangeRaw(t, in.input)
		if got := outcome(a, methods); got != in.ours {
			t.Errorf("%s: httpd responds with %s, want %s, to %q", in.place, got, in.ours, brief(in.input))
		}
		if got := outcome(b, methods); got != in.theirs {
			t.Errorf("%s: net/http responds with %s, want %s, to %q", in.place, got, in.theirs, brief(in.input))
		}
		same := sameResponses(fields(a, methods), fields(b, methods))
		switch {
		case in.reason == "" && !same:
			t.Errorf("%s: %q\nthe response of httpd is\n%s\nand that of net/http\n%s", in.place, brief(in.input), brief(a), brief(b))
		case in.reason != "" && same:
			t.Errorf("%s: both respond with %q to %q", in.place, brief(a), brief(in.input))
		}
		used[in.reason] = true
	}
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	documentation := strings.Join(strings.Fields(strings.ReplaceAll(string(text), "\n//", "")), " ")
	for reason, sentence := range differences {
		if !used[reason] {
			t.Errorf("no input is for the reason %s", reason)
		}
		delete(used, reason)
		if !strings.Contains(documentation, sentence) {
			t.Errorf("the package documentation does not say %q", sentence)
		}
	}
	delete(used, "")
	if len(used) > 0 {
		t.Errorf("reasons that are not documented: %v", used)
	}
}

// sameResponses compares the responses of both servers in the form of fields. Ours closes more often: after a body that was cut.
func sameResponses(ours, theirs string) bool {
	return ours == theirs || strings.Replace(ours, "close true", "close false", 1) == theirs
}
