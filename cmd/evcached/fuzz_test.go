//go:build linux || darwin || freebsd

package main

import (
	"strings"
	"testing"
)

// FuzzCommandLine parses any command line. It is refused with a status, or has settings with which the program can run.
func FuzzCommandLine(f *testing.F) {
	for _, line := range []string{
		"-p 11211 -U 0 -c 1024 -t 4 -m 64 -I 1m", "-l 127.0.0.1,[::1]:12000 -l * -vvv", "-s /tmp/s -a 0700 -d -P /tmp/p -u nobody",
		"-Z -o ssl_chain_cert=x,ssl_verify_mode=2,ssl_ca_cert=y,ssl_ciphers=AES128-SHA", "-S -Y x -B binary", "-o idle_timeout=3,modern,hashpower=20",
		"-I 9999999999999999999k", "--conn=5 --protocol ascii -- rest", "-hV", "-o ,,=", "-p=-1", "-I", "-vp",
	} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		s, err := parse(strings.Fields(line), nil)
		if err != nil {
			if st := status(err); st != statusIllegal && st != statusUsage || err.Error() == "" {
				t.Errorf("%q: status %d, %v", line, st, err)
			}
			return
		}
		c := &s.config
		switch {
		case s.port < -1 || s.port > 65535 || s.udpPort < -1 || s.udpPort > 65535:
			t.Errorf("%q: ports %d and %d", line, s.port, s.udpPort)
		case s.port == 0 && s.udpPort == 0 && s.socket == "":
			t.Errorf("%q: nothing to listen on", line)
		case s.conns < 1 || s.loops < 1 || s.backlog < 1 || c.PerTurn < 1:
			t.Errorf("%q: %+v", line, s)
		case c.MaxItem < leastItem || int64(c.MaxItem) > c.Memory/2:
			t.Errorf("%q: items of %d bytes in %d", line, c.MaxItem, c.Memory)
		case s.authFile != "" && s.udpPort != 0, c.SASL && s.authFile == "":
			t.Errorf("%q: clients can bypass authentication", line)
		case s.tls.on && s.tls.chain == "":
			t.Errorf("%q: no certificate", line)
		}
		for _, text := range s.listen {
			if _, err := parseEndpoint(text); err != nil && !strings.HasPrefix(err.Error(), "-l "+text+": ") {
				t.Errorf("%q: %v", line, err)
			}
		}
	})
}
