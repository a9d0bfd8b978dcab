// Large measures the transfer of a large file to a client, and of a large body to a handler, with httpd and with package net/http.
//
//	go run ./http/large -mb 1024 -rounds 3
//
// Each server runs in a process of its own, on GOMAXPROCS processors. The client is in this process, uses one connection, and reads or writes
// without looking at the bytes. For each transfer it prints the time, and the processor time of the server's process.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/evmq/evmq/httpd"
)

func main() {
	serve := flag.String("serve", "", "run the server with this name, for the file in the argument; the parent uses it")
	mb := flag.Int("mb", 1024, "size of a transfer in megabytes")
	rounds := flag.Int("rounds", 3, "number of transfers of each kind")
	flag.Parse()
	if *serve != "" {
		log.Fatal(runServer(*serve, flag.Arg(0)))
	}
	if err := measure(int64(*mb)<<20, *rounds); err != nil {
		log.Fatal(err)
	}
}

// runServer serves until the process is ended. It prints its address.
func runServer(name, file string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	h := http.NewServeMux()
	h.HandleFunc("GET /file", func(w http.ResponseWriter, req *http.Request) { http.ServeFile(w, req, file) })
	h.HandleFunc("GET /write", func(w http.ResponseWriter, _ *http.Request) { writeFile(w, file) })
	h.HandleFunc("POST /", func(w http.ResponseWriter, req *http.Request) {
		n, err := io.Copy(io.Discard, req.Body)
		_, _ = fmt.Fprint(w, n, err) // a failure is seen by the client
	})
	if name == "net" {
		return http.Serve(l, h) //nolint:gosec // the client is ours
	}
	return httpd.Serve(l, h)
}

// writeFile writes the file in pieces, as a handler does that changes it on the way.
func writeFile(w http.ResponseWriter, file string) {
	f, err := os.Open(file)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer func() { _ = f.Close() }() // it was only read
	buf := make([]byte, 32<<10)
	for {
		n, err := f.Read(buf)
		if _, werr := w.Write(buf[:n]); werr != nil || err != nil {
			return
		}
	}
}

// measure runs all transfers.
func measure(size int64, rounds int) error {
	dir, err := os.MkdirTemp("", "large")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // nothing depends on it
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		return err
	}
	if err := os.Truncate(file, size); err != nil {
		return err
	}
	for range rounds {
		for _, kind := range []string{"/file", "/write", "upload"} {
			for _, name := range []string{"net", "httpd"} {
				if err := transfer(name, kind, file, size); err != nil {
					return fmt.Errorf("%s %s: %w", name, kind, err)
				}
			}
		}
	}
	return nil
}

// transfer measures one transfer with a new server.
func transfer(name, kind, file string, size int64) error {
	cmd := exec.Command(os.Args[0], "-serve", name, file) //nolint:gosec // it is this program
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	addr, err := bufio.NewReader(out).ReadString('\n')
	var took time.Duration
	if err == nil {
		took, err = client(addr[:len(addr)-1], kind, size)
	}
	_ = cmd.Process.Signal(syscall.SIGKILL)
	_ = cmd.Wait() // it was killed
	if err != nil {
		return err
	}
	usage := cmd.ProcessState
	fmt.Printf("%-6s %-6s %6d ms  server: user %5d ms, system %5d ms\n", kind, name, took.Milliseconds(), usage.UserTime().Milliseconds(), usage.SystemTime().Milliseconds())
	return nil
}

// client makes the transfer and returns its time.
func client(addr, kind string, size int64) (time.Duration, error) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, err
	}
	defer func() { _ = nc.Close() }() // the response was read
	began := time.Now()
	if kind != "upload" {
		_, err = io.WriteString(nc, "GET "+kind+" HTTP/1.1\r\nHost: x\r\n\r\n")
	} else if _, err = io.WriteString(nc, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: "+strconv.FormatInt(size, 10)+"\r\n\r\n"); err == nil {
		piece := make([]byte, 256<<10)
		for sent := int64(0); sent < size && err == nil; sent += int64(len(piece)) {
			_, err = nc.Write(piece)
		}
	}
	if err != nil {
		return 0, err
	}
	resp, err := http.ReadResponse(bufio.NewReaderSize(nc, 256<<10), nil)
	if err != nil {
		return 0, err
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, resp.Body, make([]byte, 256<<10))
	_ = resp.Body.Close() // it was read
	if err == nil && kind != "upload" && n != size {
		err = fmt.Errorf("%d of %d bytes", n, size)
	}
	return time.Since(began), err
}
