package client_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/client"
	"github.com/evmq/evmq/server/framing"
)

// proxy starts a server whose handler asks backend, and returns its address. The Client is on the loops of the same server.
func proxy(t testing.TB, place server.Placement, workers int, backend *client.Client) (*server.Server, string) {
	t.Helper()
	srv := &server.Server{NumLoops: 1, Workers: workers, Handler: &server.Dispatcher{Framing: framing.Lines{}, Placement: place, Serve: func(w server.Reply, line []byte) {
		var buf [100]byte
		answer, err := backend.AppendDo(w.Context(), buf[:0], append(line, '\n'))
		if err != nil {
			answer = []byte("error: " + err.Error())
		}
		_, _ = w.Write(append(answer, '\n')) // fails only if the client has disconnected
	}}}
	backend.Server = srv
	ln, err := start(t, srv).Listen(context.Background(), "tcp", "127.0.0.1:0", nil)
	testkit.Must(t, err)
	return srv, ln.Addr().String()
}

// ask sends lines to addr, one after the other, and checks that each comes back.
func ask(addr, name string, n int) error {
	nc, err := net.DialTimeout("tcp", addr, testkit.Patience)
	if err != nil {
		return err
	}
	defer nc.Close()
	lines := bufio.NewReader(nc)
	for i := range n {
		want := fmt.Sprintln(name, i)
		if _, err = nc.Write([]byte(want)); err != nil {
			return err
		}
		if got, err := lines.ReadString('\n'); got != want {
			return fmt.Errorf("the answer to %q is %q, %w", want, got, err)
		}
	}
	return nil
}

// It works on a loop, which it gives up, and on workers, also if all of them wait.
func TestAHandlerMayCallAClientWhereverItRuns(t *testing.T) {
	for _, place := range []server.Placement{server.Adaptive, server.OnLoop, server.OnWorkers} {
		for _, workers := range []int{1, 8} {
			t.Run(fmt.Sprint(place, " ", workers), func(t *testing.T) {
				backend := listen(t, "tcp", &server.Server{})
				srv, addr := proxy(t, place, workers, backend)
				testkit.Within(t, "the requests", func() {
					var all sync.WaitGroup
					for g := range 10 {
						all.Go(func() {
							if err := ask(addr, fmt.Sprint("client ", g), 30); err != nil {
								t.Error(err)
							}
						})
					}
					all.Wait()
				})
				if s := backend.Stats(); s.Answers != 300 || s.Errors > 0 {
					t.Errorf("%+v", s)
				}
				var routes server.RouteStats
				for _, st := range srv.RouteStats() {
					routes.TakenOver += st.TakenOver
					routes.Inline += st.Inline
				}
				t.Logf("%v: %d taken over", place, routes.TakenOver)
			})
		}
	}
}

// In callbacks it would block the loop. Nothing is sent.
func TestDoInACallbackIsRefused(t *testing.T) {
	c := listen(t, "tcp", &server.Server{})
	do(t, c, "x", "x")
	failed := make(chan error, 1)
	testkit.Must(t, c.Server.Loop(0).Post(func() {
		_, err := c.Do(context.Background(), []byte("y\n"))
		failed <- err
	}))
	testkit.CheckErr(t, "Do", testkit.Await(t, failed, "its end"), event.ErrOnLoop)
	testkit.WantEqual(t, "requests", c.Stats().Requests, 1)
}

// Handlers that run when a shutdown begins may call a Client, also one that has no connection yet. Afterwards calls fail.
func TestHandlersMayCallAClientDuringShutdown(t *testing.T) {
	backend := listen(t, "tcp", &server.Server{})
	begun, release := make(chan struct{}), make(chan struct{})
	srv := &server.Server{Handler: server.Dispatch(bufio.ScanLines, func(w server.Reply, line []byte) {
		close(begun)
		<-release
		for range 10 {
			answer, err := backend.Do(w.Context(), append(line, '\n'))
			if err != nil || string(answer) != "question" {
				t.Errorf("%q, %v", answer, err)
			}
		}
		_, _ = w.WriteString("done\n")
	})}
	backend.Server = srv
	ln, err := start(t, srv).Listen(context.Background(), "tcp", "127.0.0.1:0", nil)
	testkit.Must(t, err)
	nc, err := net.Dial("tcp", ln.Addr().String())
	testkit.Must(t, err)
	defer nc.Close()
	_, err = nc.Write([]byte("question\n"))
	testkit.Must(t, err)
	testkit.Await(t, begun, "the request")
	done := make(chan error, 1)
	go func() { done <- srv.Shutdown(context.Background()) }()
	testkit.Until(t, "the end of the listener", func() bool {
		late, err := net.Dial("tcp", ln.Addr().String())
		if err == nil {
			late.Close()
		}
		return err != nil
	})
	close(release)
	line, err := bufio.NewReader(nc).ReadString('\n')
	testkit.Must(t, err)
	testkit.WantEqual(t, "the answer", line, "done\n")
	testkit.Must(t, nc.Close())
	testkit.Must(t, testkit.Await(t, done, "Shutdown's end"))
	fails(t, backend, "late", server.ErrServerClosed)
	if s := backend.Stats(); s.Answers != 10 || s.OpenConns != 0 {
		t.Errorf("%+v", s)
	}
}

// Each call has its answer or an error, and none hangs. The next ones fail with ErrServerClosed.
func TestCallsEndWithTheServer(t *testing.T) {
	for _, end := range []string{"Shutdown", "Close"} {
		for _, pipeline := range []int{1, 16} {
			c := listen(t, "tcp", &server.Server{})
			c.Pipeline = pipeline
			var all sync.WaitGroup
			for g := range 20 {
				all.Go(func() {
					for i := 0; ; i++ {
						want := fmt.Sprint("call ", g, " ", i)
						answer, err := c.Do(context.Background(), []byte(want+"\n"))
						switch {
						case err == nil && string(answer) == want:
						case errors.Is(err, server.ErrServerClosed):
							return
						case errors.Is(err, client.ErrNoAnswer):
						default:
							t.Errorf("the answer to %q is %q, %v", want, answer, err)
							return
						}
					}
				})
			}
			untilStats(t, c, "some answers", func(s client.Stats) bool { return s.Answers > 100 })
			testkit.Within(t, end, func() {
				if end == "Shutdown" {
					testkit.Must(t, c.Server.Shutdown(context.Background()))
				} else {
					testkit.Must(t, c.Server.Close())
				}
				all.Wait()
			})
			if s := c.Stats(); s.ActiveRequests+s.WaitingCalls+s.OpenConns+s.DialingConns != 0 {
				t.Errorf("%+v", s)
			}
		}
	}
}

// The connections of a loop that the program closes end, and calls go to the other loops.
func TestCallsSurviveTheEndOfALoop(t *testing.T) {
	var loops []*event.Loop
	for range 2 {
		l := testkit.NewLoop(t, nil)
		testkit.Background(t, l)
		loops = append(loops, l)
	}
	c := listen(t, "tcp", &server.Server{})
	c.Server = start(t, &server.Server{UseLoops: loops})
	c.MaxConns = 4
	stop := make(chan struct{})
	var all sync.WaitGroup
	for g := range 10 {
		all.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				want := fmt.Sprint("call ", g, " ", i)
				answer, err := c.Do(context.Background(), []byte(want+"\n"))
				if err != nil {
					testkit.CheckErr(t, "Do", err, server.ErrLoopClosed)
				} else if string(answer) != want {
					t.Errorf("the answer to %q is %q", want, answer)
				}
			}
		})
	}
	untilStats(t, c, "some answers", func(s client.Stats) bool { return s.Answers > 100 })
	testkit.Must(t, loops[1].Close())
	before := c.Stats().Answers
	untilStats(t, c, "answers afterwards", func(s client.Stats) bool { return s.Answers > before+100 })
	close(stop)
	testkit.Within(t, "the calls", all.Wait)
}
