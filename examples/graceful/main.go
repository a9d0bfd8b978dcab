// Graceful answers lines, and can be replaced by a new process without interruption: kill -HUP replaces it, kill -TERM ends it.
//
//	go run ./examples/graceful -addr 127.0.0.1:7000
//	go run ./examples/connect 127.0.0.1:7000    # in another terminal; then type a line
//
// It prints its process number, which kill needs.
//
// It guarantees:
//
//   - The listening socket is not closed during the replacement. The new process inherits it, and one of the two processes accepts
//     each connection. (Two sockets on one port, by SO_REUSEPORT, would not suffice: closing one resets the connections in its queue.)
//   - A line is answered completely or not processed. The answer to each complete line that was read is flushed before the
//     connection is closed. A line that arrives after the server has begun to close the connection is discarded.
//   - So if a connection ends where an answer would begin, the client knows that this line and the lines after it were not processed.
//     It can connect again and send them again.
//   - The old process serves until the new one reports that it accepts connections. If the new one fails, the old one continues.
//
// Two things are not guaranteed: an answer to a client that does not read within -drain, and, after kill -TERM, an answer on a
// connection that has not been accepted.
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/evmq/evmq/server"
	"golang.org/x/sys/unix"
)

// The descriptors that a new process inherits, after standard input, output and error, and the environment variable that announces them.
const (
	listenerFD = 3
	readyFD    = 4 // a pipe, to be written to
	inherits   = "GRACEFUL_INHERITS"
)

func main() {
	signals := make(chan os.Signal, 8) // first of all, so that an early signal does not kill the process
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM)
	addr := flag.String("addr", "127.0.0.1:7000", "address to listen on")
	work := flag.Duration("work", 0, "time that a worker takes for a line")
	drain := flag.Duration("drain", 10*time.Second, "time that clients have at the end to read their answers")
	flag.Parse()

	l, err := listen(*addr)
	if err != nil {
		log.Fatal(err)
	}
	var answered atomic.Uint64
	srv := &server.Server{Handler: server.Dispatch(bufio.ScanLines, func(w server.Reply, line []byte) {
		time.Sleep(*work)
		_, _ = w.Write(append(bytes.ToUpper(line), '\n')) // fails only when the client is gone
		answered.Add(1)
	})}
	if _, err := srv.AddListener(l, nil); err != nil {
		log.Fatal(err)
	}
	fmt.Println("process", os.Getpid(), "listening on", l.Addr())
	if err := reportReady(); err != nil {
		log.Print(err) // the old process has ended in the meantime; this one serves
	}

	for sig := range signals {
		if sig == syscall.SIGHUP {
			if err := replace(l); err != nil {
				log.Print(err)
				continue // this process keeps serving
			}
		}
		break
	}
	deadline, cancel := context.WithTimeout(context.Background(), *drain)
	defer cancel()
	if err := srv.Shutdown(deadline); err != nil {
		log.Print(err)
	}
	fmt.Println("process", os.Getpid(), "stopped:", answered.Load(), "answers")
}

// listen opens a listening socket, or takes over that of the old process.
func listen(addr string) (*net.TCPListener, error) {
	var l net.Listener
	var err error
	if os.Getenv(inherits) == "" {
		l, err = net.Listen("tcp", addr)
	} else {
		f := os.NewFile(listenerFD, "listener")
		if l, err = net.FileListener(f); err == nil { // a duplicate
			err = f.Close()
		}
	}
	if err != nil {
		return nil, err
	}
	return l.(*net.TCPListener), nil
}

// reportReady reports to the old process, if there is one, that this one accepts connections.
func reportReady() error {
	if os.Getenv(inherits) == "" {
		return nil
	}
	pipe := os.NewFile(readyFD, "ready")
	_, err := pipe.WriteString("ready")
	return errors.Join(err, pipe.Close())
}

// replace starts this program again with the same arguments, and waits until the new process accepts connections.
func replace(l *net.TCPListener) error {
	listener, err := duplicate(l)
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }()
	ready, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = ready.Close() }()
	program, err := os.Executable()
	if err != nil {
		return errors.Join(err, theirs.Close())
	}
	cmd := exec.Command(program, os.Args[1:]...)
	cmd.Env = append(os.Environ(), inherits+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{listener, theirs}
	if err = errors.Join(cmd.Start(), theirs.Close()); err != nil { // closed here, so that the read below ends with the new process
		return err
	}
	_ = ready.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := ready.Read(make([]byte, 1)); err != nil {
		_ = cmd.Process.Kill() // it may still be running
		return fmt.Errorf("the new process is not ready: %w; %w", err, cmd.Wait())
	}
	return cmd.Process.Release()
}

// duplicate makes a second descriptor of the socket. A file of TCPListener.File becomes blocking when it is passed to a process. The mode
// belongs to the socket and not to the descriptor, so the loops of both processes would block in accept.
func duplicate(l *net.TCPListener) (*os.File, error) {
	raw, err := l.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	if e := raw.Control(func(of uintptr) { fd, err = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0) }); e != nil {
		return nil, e
	}
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fd), "listener"), nil
}
