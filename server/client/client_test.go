package client_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/leaktest"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/client"
	"github.com/evmq/evmq/server/framing"
)

func TestEachCallGetsItsOwnAnswer(t *testing.T) {
	for _, network := range []string{"tcp", "unix", "tls"} {
		for _, pipeline := range []int{1, 16} {
			for _, procs := range []int{1, 4} {
				t.Run(fmt.Sprintf("%s-%d-%d", network, pipeline, procs), func(t *testing.T) {
					defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
					c := listen(t, network, &server.Server{})
					c.Pipeline, c.MaxConns = pipeline, 3
					many(t, c, 50, 60)
					s := c.Stats()
					if s.Requests != 3000 || s.Answers != 3000 || s.Errors+s.Repeats+s.Unexpected+s.DialErrors > 0 || s.OpenConns > 3 || s.ActiveRequests != 0 {
						t.Errorf("%+v", s)
					}
				})
			}
		}
	}
}

// An answer has any length up to the framing's limit, and a request any length.
func TestLongRequestsAndAnswersArriveWhole(t *testing.T) {
	for _, network := range []string{"tcp", "tls"} {
		long := framing.Lines{Max: 4 << 20}
		c := listen(t, network, &server.Server{Handler: &server.Dispatcher{Framing: long, Serve: func(w server.Reply, line []byte) {
			_, _ = w.Write(append(line, '\n'))
		}}})
		c.Framing, c.Pipeline = long, 4
		for _, n := range []int{0, 1, 4 << 10, 4<<10 + 1, 64 << 10, 3 << 20} {
			line := strings.Repeat("x", n)
			do(t, c, line, line)
		}
	}
}

func TestAppendDoAppendsTheAnswerAndDoesNotAllocate(t *testing.T) {
	c := listen(t, "tcp", &server.Server{NumLoops: 1})
	dst := append(make([]byte, 0, 100), "answer: "...)
	request := []byte("hello\n")
	call := func() {
		answer, err := c.AppendDo(context.Background(), dst, request)
		if err != nil || string(answer) != "answer: hello" || &answer[0] != &dst[0] {
			t.Fatalf("%q, %v", answer, err)
		}
	}
	call()
	n := testing.AllocsPerRun(500, call)
	t.Logf("%v allocations per call, with those of the server that answers", n)
	if !leaktest.Raced() && n >= 1 { // the string conversion in the helper's handler is on the stack
		t.Errorf("%v allocations", n)
	}
}

// An error names the field.
func TestInvalidFieldsAreRefused(t *testing.T) {
	srv := start(t, &server.Server{})
	for field, c := range map[string]*client.Client{
		"Server":   {Address: "127.0.0.1:1", Framing: framing.Lines{}},
		"Address":  {Server: srv, Framing: framing.Lines{}},
		"Framing":  {Server: srv, Address: "127.0.0.1:1"},
		"Max":      {Server: srv, Address: "127.0.0.1:1", Framing: framing.Lines{Max: -1}},
		"Pipeline": {Server: srv, Address: "127.0.0.1:1", Framing: framing.Lines{}, Pipeline: client.LargestPipeline + 1},
		"network":  {Server: srv, Address: "127.0.0.1:1", Framing: framing.Lines{}, Network: "udp"},
	} {
		fails(t, c, "x", server.ErrInvalid)
		_, err := c.Do(context.Background(), nil)
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("the error does not name %s: %v", field, err)
		}
		testkit.Must(t, c.Close())
	}
	valid := &client.Client{Server: srv, Address: "127.0.0.1:1", Framing: framing.Lines{}}
	_, err := valid.Do(nil, nil) //nolint:staticcheck // the context is nil on purpose
	testkit.CheckErr(t, "Do without a context", err, server.ErrInvalid)
	valid.Server = new(server.Server)
	fails(t, valid, "x", server.ErrNotStarted)
}

// It fails with the reason that DialContext has.
func TestACallFailsIfNoConnectionCanBeOpened(t *testing.T) {
	p, c := newPeer(t, nil)
	testkit.Must(t, p.Close())
	outcomes := make(chan result, 100)
	for range 100 {
		go func() {
			_, err := c.Do(context.Background(), []byte("x\n"))
			outcomes <- result{err: err}
		}()
	}
	for range 100 {
		if r := testkit.Await(t, outcomes, "the outcome"); r.err == nil || !strings.Contains(r.err.Error(), "connection refused") {
			t.Errorf("%v", r.err)
		}
	}
	c = &client.Client{Server: c.Server, Address: silent(t), Framing: framing.Lines{}, DialTimeout: time.Millisecond}
	c.TLS = listen(t, "tls", &server.Server{}).TLS
	fails(t, c, "x", os.ErrDeadlineExceeded)
}

// silent listens, and does not answer.
func silent(t testing.TB) (address string) {
	p, _ := newPeer(t, nil)
	return p.Addr().String()
}
