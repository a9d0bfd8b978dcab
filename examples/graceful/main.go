// Graceful answers lines, and is replaced by a new process of itself without anybody noticing: kill -HUP reloads it, kill -TERM ends it.
//
//	go run ./examples/graceful -addr 127.0.0.1:7000
//
// What is promised:
//
//   - The listening socket is never closed while it is reloaded. The new process inherits it; who connects is accepted by one of the two.
//     (Two sockets on one port, by SO_REUSEPORT, would not do: closing one resets the connections in its queue.)
//   - A line is either answered whole, or not begun. What has been read as a whole line is answered and the answer flushed before
//     the connection is closed; a line that comes after the server has decided to close is thrown away.
//   - So a client whose connection ends where an answer might begin knows that this line, and those behind it, did nothing; it connects
//     again and sends them again.
//   - The old process goes on until the new one says that it accepts. If that fails, the old one stays.
//
// Two things are not promised: an answer to a client that does not read within -drain, and, after kill -TERM, to one whose connection has
// not been accepted.
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

// The descriptors of a process that takes over, behind those for input, output and errors, and the variable that says they are there.
const (
	listenerFD = 3
	readyFD    = 4 // a pipe, to be written to
	inherits   = "GRACEFUL_INHERITS"
)

func main() {
	signals := make(chan os.Signal, 8) // before all else: a signal that comes early must not kill the process
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM)
	addr := flag.String("addr", "127.0.0.1:7000", "address to listen on")
	work := flag.Duration("work", 0, "how long a worker takes for a line")
	drain := flag.Duration("drain", 10*time.Second, "how long clients have to take their answers at the end")
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
	if err := sayReady(); err != nil {
		log.Print(err) // the old process has ended meanwhile; so much the better that this one runs
	}

	for sig := range signals {
		if sig == syscall.SIGHUP {
			if err := replace(l); err != nil {
				log.Print(err)
				continue // it goes on as if nothing had been
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

// listen opens a socket, or takes over the old process's.
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

// sayReady tells the old process, if there is one, that it can go.
func sayReady() error {
	if os.Getenv(inherits) == "" {
		return nil
	}
	pipe := os.NewFile(readyFD, "ready")
	_, err := pipe.WriteString("ready")
	return errors.Join(err, pipe.Close())
}

// replace starts this program anew with the same arguments, and waits until that process accepts connections.
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
	if err = errors.Join(cmd.Start(), theirs.Close()); err != nil { // ours is closed: what is read ends with the new process
		return err
	}
	_ = ready.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := ready.Read(make([]byte, 1)); err != nil {
		_ = cmd.Process.Kill() // if it lives, it does not do what it should
		return fmt.Errorf("the new process is not ready: %w; %w", err, cmd.Wait())
	}
	return cmd.Process.Release()
}

// duplicate makes a second descriptor of the socket. TCPListener.File would do, but makes the socket wait when it is passed on: the
// mode is the socket's, and so the loop would be stuck in accept, in both processes.
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
