// Pools has slow requests run in a pool of their own, so that quick ones do not wait for them, and refuses requests that wait for too long.
//
//	go run ./examples/pools -addr 127.0.0.1:7000
//	go run ./examples/connect 127.0.0.1:7000    # in several other terminals; then type "report" in some and "ping" in one
//
// "report" is answered after the time -report, and "busy" if it has waited for -wait without beginning. Two reports run at a time. Any other
// line is answered at once. "pools" is answered with the counts of the pools.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:7000", "address to listen on")
	report := flag.Duration("report", 10*time.Second, "time that a report takes")
	wait := flag.Duration("wait", 30*time.Second, "time after which a request that waits is refused")
	flag.Parse()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)

	reports, err := server.NewPool(&server.PoolConfig{Workers: 2, Queue: 100})
	if err != nil {
		log.Fatal(err)
	}
	srv := &server.Server{
		Executors:    map[string]server.Executor{"reports": reports},
		QueueTimeout: *wait,
		BusyText:     "busy\n",
		Handler: &server.Dispatcher{
			Framing:     framing.Lines{},
			ExecutorFor: executorOf,
			Serve:       func(w server.Reply, line []byte) { answer(w, line, *report) },
		},
	}
	ln, err := srv.Listen(context.Background(), "tcp", *addr, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", ln.Addr())

	<-stop
	deadline, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := srv.Shutdown(deadline); err != nil {
		log.Print(err)
	}
	if err := reports.Shutdown(deadline); err != nil { // after the server, which uses it
		log.Print(err)
	}
}

func isReport(line []byte) bool { return bytes.HasPrefix(line, []byte("report")) }

// executorOf returns the name of the executor of a line. "" is the server's own pool.
func executorOf(line []byte) string {
	if isReport(line) {
		return "reports"
	}
	return ""
}

// answer answers a line. It is slow if the line is a report. Its writes fail only if the client is gone.
func answer(w server.Reply, line []byte, takes time.Duration) {
	switch {
	case isReport(line):
		select {
		case <-time.After(takes):
			_, _ = w.WriteString("done\n")
		case <-w.Context().Done():
		}
	case string(line) == "pools":
		for _, st := range w.Conn().Server().Stats().Executors {
			_, _ = fmt.Fprintf(w, "%q: %d run, %d wait, %d refused\n", st.Name, st.Running, st.Queued+st.Backlog, st.Expired)
		}
	default:
		_, _ = w.Write(append(line, '\n'))
	}
}
