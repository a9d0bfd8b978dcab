// Echo sends back what it receives, as bytes or as lines, with or without TLS:
//
//	go run ./examples/echo -addr 127.0.0.1:7000 -mode dispatch -framing line
//	go run ./examples/connect 127.0.0.1:7000    # in another terminal; then type a line
//
// With -tls, a client is openssl s_client -connect 127.0.0.1:7000.
//
// With -mode loop the server has a Handler, which is called on the loop and must not block. With -mode dispatch it has a function of
// Dispatch, which may block: it runs on the loop while it is quick, and otherwise on a worker. With -mode workers it always runs on a worker.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"math"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/evmq/evmq/server"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:7000", "address to listen on, or unix:PATH")
	mode := flag.String("mode", "loop", "where requests are answered: loop, dispatch or workers")
	framing := flag.String("framing", "raw", "what a request is: raw (all bytes that have arrived) or line")
	loops := flag.Int("loops", 0, "number of loops; 0 for the library's default")
	workers := flag.Int("workers", 0, "number of workers; 0 for the library's default")
	secure := flag.Bool("tls", false, "use TLS, with a self-signed certificate that is made at the start")
	burn := flag.Duration("burn", 0, "with -mode dispatch or workers: processor time that a request consisting of \"burn\" takes")
	procs := flag.Int("procs", 0, "add this number to GOMAXPROCS, for handlers that use much processor time")
	flag.Parse()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)

	srv := &server.Server{NumLoops: *loops, Workers: *workers}
	var err error
	if srv.Handler, err = handler(*mode, *framing, *burn); err != nil {
		log.Fatal(err)
	}
	if *secure {
		if srv.TLS, err = selfSigned(); err != nil {
			log.Fatal(err)
		}
	}
	if *procs > 0 && os.Getenv("GOMAXPROCS") == "" { // an explicit value in the environment applies
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + *procs)
	}

	network, address := "tcp", *addr
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, address = "unix", path
	}
	ln, err := srv.Listen(context.Background(), network, address, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", ln.Addr())

	<-stop
	deadline, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	err = srv.Shutdown(deadline)
	cancel()
	if err != nil {
		log.Fatal(err)
	}
	st := srv.Stats()
	fmt.Println("stopped:", st.Opened, "connections,", st.BytesRead, "bytes in,", st.BytesWritten, "out")
}

// handler returns the server's handler. Each of the four cases is a complete echo server.
func handler(mode, framing string, burn time.Duration) (server.Handler, error) {
	placement := server.Adaptive
	if mode == "workers" {
		placement, mode = server.OnWorkers, "dispatch"
	}
	switch mode + " " + framing {
	case "loop raw":
		return server.HandlerFunc(func(c *server.Conn, p []byte) (int, error) { return c.Write(p) }), nil
	case "loop line":
		return server.HandlerFunc(func(c *server.Conn, p []byte) (int, error) {
			n, line, err := bufio.ScanLines(p, false)
			if line == nil || err != nil {
				return 0, err
			}
			if _, err := c.Write(p[:n]); err != nil {
				return 0, err
			}
			return n, nil
		}), nil
	case "dispatch raw":
		d := server.Dispatch(everything, func(w server.Reply, p []byte) { answer(w, p, burn) })
		d.Placement = placement
		return d, nil
	case "dispatch line":
		d := server.Dispatch(bufio.ScanLines, func(w server.Reply, line []byte) {
			answer(w, line, burn)
			answer(w, []byte("\n"), 0)
		})
		d.Placement = placement
		return d, nil
	}
	return nil, fmt.Errorf("unknown server: -mode %s -framing %s", mode, framing)
}

// answer writes a part of a reply. A write with ErrClosed means that the connection has ended, which is not logged.
func answer(w server.Reply, p []byte, burn time.Duration) {
	if burn > 0 && strings.TrimSpace(string(p)) == "burn" {
		spin(burn)
	}
	if _, err := w.Write(p); err != nil && !errors.Is(err, server.ErrClosed) {
		log.Print(err)
	}
}

// everything is a framing whose message is all bytes that have arrived.
func everything(data []byte, _ bool) (int, []byte, error) { return len(data), data, nil }

// spin computes for d. It stands for a handler that uses processor time.
func spin(d time.Duration) {
	x := 1.0
	for end := time.Now().Add(d); time.Now().Before(end); {
		for range 1000 {
			x = math.Sqrt(x + 1)
		}
	}
	if x < 0 {
		panic("the result is used")
	}
}
