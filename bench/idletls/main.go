//go:build linux

// Idletls measures the memory that a server keeps for a TLS connection on which nothing happens: the difference between many and few
// connections, each of which has made a handshake and one request. It runs the servers one after the other, with the same client and
// configuration. The server alone is crypto/tls with a descriptor and nothing else.
//
//	go run ./idletls                              # 2000 and 12000 connections, TLS 1.3, an echo of 1 KB; HTTP: a request and its answer
//	go run ./idletls -version 1.2 -bytes 0        # the handshake only
//	go run ./idletls -bytes 1048576 -conns 100,600
package main

import (
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/evmq/evmq/bench/internal/child"
)

type plan struct {
	few, many int
	version   uint16
	bytes     int
}

func main() {
	log.SetFlags(0)
	conns := flag.String("conns", "2000,12000", "a small and a large number of connections")
	version := flag.String("version", "1.3", "version of TLS: 1.2 or 1.3")
	servers := flag.String("servers", "alone,loop,workers,net,http-alone,httpd,net/http", "servers to measure")
	var p plan
	flag.IntVar(&p.bytes, "bytes", 1024, "bytes that the client sends and receives on each connection, except with HTTP; 0 for the handshake only")
	kind := flag.String("serve", "", "run as this server (used by the program itself)")
	profile := flag.String("profile", "", "file for a heap profile of each server with many connections, with the server's name appended")
	flag.Parse()
	var err error
	if *kind != "" {
		err = serve(*kind, p.bytes, *profile)
	} else if err = p.parse(*conns, *version); err == nil {
		err = compare(p, strings.Split(*servers, ","), *profile)
	}
	if err != nil {
		log.Fatal("idletls: ", err)
	}
}

// parse sets the fields that are not numbers on the command line.
func (p *plan) parse(conns, version string) error {
	few, many, _ := strings.Cut(conns, ",")
	var err, err2 error
	p.few, err = strconv.Atoi(few)
	p.many, err2 = strconv.Atoi(many)
	if err := errors.Join(err, err2); err != nil || p.few < 1 || p.few >= p.many {
		return fmt.Errorf("-conns is %q", conns)
	}
	if p.version = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}[version]; p.version == 0 {
		return fmt.Errorf("-version is %q", version)
	}
	if p.bytes < 0 {
		return fmt.Errorf("-bytes is %d", p.bytes)
	}
	return nil
}

// memory is that of a server, in bytes.
type memory struct {
	resident int // of the process
	heap     int // of live objects, after a collection
	stacks   int
}

// perConn returns the difference between many and few connections for each.
func (p plan) perConn(few, many memory) memory {
	n := p.many - p.few
	return memory{(many.resident - few.resident) / n, (many.heap - few.heap) / n, (many.stacks - few.stacks) / n}
}

// compare prints a line for each server. The difference is that to the last server whose name ends in alone.
func compare(p plan, kinds []string, profile string) error {
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(out, "server\theap\tstacks\tboth\tabove alone\tresident\t") // a bytes.Buffer, until Flush
	var alone memory
	for _, kind := range kinds {
		m, err := measure(kind, p, profile)
		if err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
		if strings.HasSuffix(kind, "alone") {
			alone = m
		}
		both := m.heap + m.stacks
		_, _ = fmt.Fprintf(out, "%s\t%d\t%d\t%d\t%d\t%d\t\n", kind, m.heap, m.stacks, both, both-alone.heap-alone.stacks, m.resident)
	}
	return out.Flush()
}

// measure runs a server, and returns its memory for each connection.
func measure(kind string, p plan, profile string) (m memory, err error) {
	args := []string{"-serve", kind, "-bytes", strconv.Itoa(p.bytes)}
	if profile != "" {
		args = append(args, "-profile", profile+"-"+strings.ReplaceAll(kind, "/", ""))
	}
	c, err := child.Start(nil, nil, args...)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, c.Stop()) }()
	h := holder{addr: c.Addr(0), exchange: exchange(kind, p)}
	defer func() { err = errors.Join(err, h.close()) }()
	var at [2]memory
	for i, n := range []int{p.few, p.many} {
		if err := h.hold(n); err != nil {
			return m, err
		}
		if at[i], err = ask(c, n); err != nil {
			return m, err
		}
	}
	if profile != "" {
		_, err = c.Ask("profile")
	}
	return p.perConn(at[0], at[1]), err
}

// ask returns the server's memory when it has n connections that are idle.
func ask(c *child.Child, n int) (m memory, err error) {
	if m.resident, err = resident(c.PID()); err != nil {
		return m, err
	}
	answer, err := c.Ask(strconv.Itoa(n))
	if err != nil {
		return m, err
	}
	if _, err = fmt.Sscan(answer, &m.heap, &m.stacks); err != nil {
		err = fmt.Errorf("the server answers %q: %w", answer, err)
	}
	return m, err
}

// resident returns the user memory of a process, in bytes.
func resident(pid int) (int, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(status), "RssAnon:")
	line, _, _ := strings.Cut(rest, "\n")
	var kb int
	_, err = fmt.Sscan(line, &kb)
	return kb << 10, err
}
