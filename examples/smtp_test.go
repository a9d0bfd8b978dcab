package examples_test

import (
	"fmt"
	"maps"
	"net/smtp"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
)

// kept returns the one file in dir.
func kept(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	testkit.Must(t, err)
	if len(files) != 1 {
		t.Fatalf("%d files are kept", len(files))
	}
	text, err := os.ReadFile(files[0])
	testkit.Must(t, err)
	testkit.Must(t, os.Remove(files[0]))
	return string(text)
}

// greet starts a conversation up to the first EHLO.
func greet(t *testing.T, addr string) *client {
	t.Helper()
	c := dial(t, addr)
	c.expectLines("220 sink ready")
	c.send("EHLO me\r\n")
	c.expectLines("250-sink", "250-PIPELINING", "250-8BITMIME")
	if line := c.readLine(); !strings.HasPrefix(line, "250 SIZE ") {
		t.Fatalf("EHLO ends with %q", line)
	}
	return c
}

func TestSMTPTakesWhatTheStandardLibrarySends(t *testing.T) {
	dir := t.TempDir()
	p, addr := listening(t, build(t, "smtp"), "-dir", dir)
	text := "Subject: dots\r\n\r\n.\r\n..\r\n.one\r\nin the . middle\r\nthe end.\r\n"
	for range 3 {
		testkit.Must(t, smtp.SendMail(addr, nil, "me@here", []string{"you@there", "her@there"}, []byte(text)))
		if got, want := kept(t, dir), "X-From: <me@here>\r\nX-To: <you@there>, <her@there>\r\n"+text; got != want {
			t.Errorf("kept %q, want %q", got, want)
		}
	}
	if got := p.stop(); got != "3 messages" {
		t.Errorf("stopped with %s", got)
	}
}

// TestSMTPTakesConversationsSentAtOnce sends all of several messages before it reads anything, in pieces of every size.
func TestSMTPTakesConversationsSentAtOnce(t *testing.T) {
	dir := t.TempDir()
	p, addr := listening(t, build(t, "smtp"), "-dir", dir)
	all := "HELO me\r\n" +
		"MAIL FROM:<a@b> BODY=8BITMIME\r\nRCPT TO:<c@d>\r\nDATA\r\n..stuffed\r\nQUIT\r\n...\r\n.\r\n" +
		"NOOP\r\nmail from: <a@b>\r\nrcpt to:<x@y>\r\nRSET\r\nDATA\r\n" +
		"MAIL FROM:<>\r\nRCPT TO:<c@d>\r\nDATA\r\n.\r\n" + // empty, and a bounce
		"QUIT\r\nMAIL FROM:<never@read>\r\n"
	answers := []string{"220 sink ready", "250 sink",
		"250 ok", "250 ok", "354 end with a line of a single dot", "250 accepted",
		"250 ok", "250 ok", "250 ok", "250 ok", "503 MAIL first",
		"250 ok", "250 ok", "354 end with a line of a single dot", "250 accepted",
		"221 bye"}
	want := map[string]bool{
		"X-From: <a@b>\r\nX-To: <c@d>\r\n.stuffed\r\nQUIT\r\n..\r\n": true,
		"X-From: <>\r\nX-To: <c@d>\r\n":                              true,
	}
	const rounds = 20
	for size := range rounds {
		c := dial(t, addr)
		for rest := all; rest != ""; {
			n := len(rest)
			if size > 0 {
				n = min(size, n)
			}
			c.send(rest[:n])
			rest = rest[n:]
		}
		c.expectLines(answers...)
		c.expectEnd()
		c.Close()
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		testkit.Must(t, err)
		got := map[string]bool{}
		for _, file := range files {
			text, err := os.ReadFile(file)
			testkit.Must(t, err)
			got[string(text)] = true
			testkit.Must(t, os.Remove(file))
		}
		if !maps.Equal(got, want) {
			t.Errorf("kept %v", got)
		}
	}
	if got, want := p.stop(), fmt.Sprint(2*rounds, " messages"); got != want {
		t.Errorf("stopped with %s, want %s", got, want)
	}
}

// TestSMTPRefusesMessagesAboveTheLimit by the size that the client announces, and by the size that it has.
func TestSMTPRefusesMessagesAboveTheLimit(t *testing.T) {
	p, addr := listening(t, build(t, "smtp"), "-limit", "10000")
	c := greet(t, addr)
	c.send("MAIL FROM:<a@b> SIZE=10001\r\n")
	c.expectLines("552 message too large")
	c.send("MAIL FROM:<a@b> SIZE=10000\r\nRCPT TO:<c@d>\r\nDATA\r\n")
	c.expectLines("250 ok", "250 ok", "354 end with a line of a single dot")
	line := strings.Repeat("x", 98) + "\r\n"
	c.send(strings.Repeat(line, 100) + ".\r\n") // exactly so many
	c.expectLines("250 accepted")
	err := smtp.SendMail(addr, nil, "a@b", []string{"c@d"}, []byte(strings.Repeat(line, 50_000)))
	if e, ok := err.(*textproto.Error); !ok || e.Code != 552 || e.Msg != "message too large" {
		t.Errorf("5 MB are refused with %v", err)
	}
	c.send("QUIT\r\n") // others go on
	c.expectLines("221 bye")
	if got := p.stop(c); got != "1 messages" {
		t.Errorf("stopped with %s", got)
	}
}

func TestSMTPSaysWhatIsWrong(t *testing.T) {
	p, addr := listening(t, build(t, "smtp"))
	c := dial(t, addr)
	c.expectLines("220 sink ready")
	for _, x := range [][2]string{
		{"MAIL FROM:<a@b>", "503 say hello first"},
		{"VRFY smith", "500 unknown command"},
		{"", "500 unknown command"},
		{"HELO me", "250 sink"},
		{"RCPT TO:<c@d>", "503 MAIL first"},
		{"DATA", "503 MAIL first"},
		{"MAIL a@b", "501 MAIL FROM:<address>"},
		{"MAIL FROM:<a@b> SIZE=many", "552 message too large"},
		{"MAIL FROM:<a@b>", "250 ok"},
		{"MAIL FROM:<a@b>", "503 one at a time"},
		{"DATA", "503 RCPT first"},
		{"RCPT TO:<>", "501 RCPT TO:<address>"},
		{"RCPT TO:c@d", "501 RCPT TO:<address>"},
		{"NOOP " + strings.Repeat("x", 506), "500 line too long"},
		{"NOOP " + strings.Repeat("x", 505), "250 ok"},
		{"RCPT TO:<c@d>", "250 ok"},
		{"DATA", "354 end with a line of a single dot"},
		{"smuggled\n.\nMAIL FROM:<x@y>\r\n.", "550 lines must end with CR and LF"},
		{"DATA", "503 MAIL first"},
	} {
		c.send(x[0] + "\r\n")
		if got := c.readLine(); got != x[1] {
			t.Errorf("%.40q is answered with %q, want %q", x[0], got, x[1])
		}
	}
	c.send(strings.Repeat("x", 5000)) // and no end
	c.expectLines("500 line too long")
	c.expectEnd()
	if got := p.stop(c); got != "0 messages" {
		t.Errorf("stopped with %s", got)
	}
}
