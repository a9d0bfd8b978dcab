package sse

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
)

// received is an event as a client has it.
type received struct{ id, name, data string }

// A parser receives a stream as the HTML standard says (section 9.2.6, interpreting an event stream). It is independent of the package.
type parser struct {
	id       string // of the last event that is complete, with which the client connects again
	nextID   string // of the event whose lines are received
	name     string
	data     strings.Builder
	hasData  bool
	retry    string
	comments int
	events   []received
}

// line takes a line without its end.
func (p *parser) line(line string) {
	if line == "" {
		if p.id = p.nextID; p.hasData {
			p.events = append(p.events, received{p.id, p.name, strings.TrimSuffix(p.data.String(), "\n")})
		}
		p.name, p.hasData = "", false
		p.data.Reset()
		return
	}
	field, value, _ := strings.Cut(line, ":")
	value = strings.TrimPrefix(value, " ")
	switch field {
	case "":
		p.comments++
	case "event":
		p.name = value
	case "data":
		p.data.WriteString(value + "\n")
		p.hasData = true
	case "id":
		if !strings.Contains(value, "\x00") {
			p.nextID = value
		}
	case "retry":
		if strings.Trim(value, "0123456789") == "" {
			p.retry = value
		}
	}
}

// text takes text whose lines end as the standard permits.
func (p *parser) text(text string) {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	text = strings.ReplaceAll(text, "\r", "\n")
	lines := strings.Split(text, "\n")
	for _, line := range lines[:len(lines)-1] {
		p.line(line)
	}
}

func TestTheFormOfAnEvent(t *testing.T) {
	for _, row := range []struct {
		event Event
		want  string
	}{
		{Event{}, "data: \n\n"},
		{Event{Data: "x"}, "data: x\n\n"},
		{Event{Data: " x"}, "data:  x\n\n"},
		{Event{Data: "a\nb"}, "data: a\ndata: b\n\n"},
		{Event{Data: "a\r\nb\rc\n\nd"}, "data: a\ndata: b\ndata: c\ndata: \ndata: d\n\n"},
		{Event{Data: "a\n"}, "data: a\ndata: \n\n"},
		{Event{Data: "\n\r"}, "data: \ndata: \ndata: \n\n"},
		{Event{Data: "data: x"}, "data: data: x\n\n"},
		{Event{Data: "\x00"}, "data: \x00\n\n"},
		{Event{ID: "7", Name: "n", Data: "x"}, "event: n\nid: 7\ndata: x\n\n"},
		{Event{ID: ": 7\té", Name: ":"}, "event: :\nid: : 7\té\ndata: \n\n"},
		{Event{Retry: time.Second}, "retry: 1000\ndata: \n\n"},
		{Event{Retry: time.Nanosecond}, "retry: 1\ndata: \n\n"},
	} {
		got, err := row.event.Append([]byte("before"))
		if err != nil || string(got) != "before"+row.want {
			t.Errorf("%+v: %q, %v; want %q", row.event, got, err, row.want)
		}
	}
}

// Fields that the client would not receive as they are, are refused, and nothing is appended.
func TestEventsThatCannotBeSentAreRefused(t *testing.T) {
	for field, e := range map[string]Event{
		"ID": {ID: "a\nb"}, "ID ": {ID: "a\rb"}, "ID  ": {ID: "a\x00"}, "ID   ": {ID: "\xff"},
		"Name": {Name: "a\n"}, "Name ": {Name: "\r"}, "Name  ": {Name: "\xc0\x80"}, "Data": {Data: "\xed\xa0\x80"}, "Retry": {Retry: -1},
	} {
		got, err := e.Append([]byte("before"))
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), strings.TrimSpace(field)) || string(got) != "before" {
			t.Errorf("%+v: %q, %v", e, got, err)
		}
	}
}

// A client receives each event as it was sent, except for the ends of lines, which become line feeds. Comments change nothing.
func TestAClientReceivesWhatWasSent(t *testing.T) {
	const letters = "ab: \r\n\x00é\ufeff"
	random := rand.New(rand.NewPCG(1, 2))
	text := func(not string) string {
		var b strings.Builder
		for range random.IntN(8) {
			b.WriteRune([]rune(letters)[random.IntN(len([]rune(letters)))])
		}
		return strings.Map(func(r rune) rune {
			if strings.ContainsRune(not, r) {
				return -1
			}
			return r
		}, b.String())
	}
	var stream []byte
	var want []received
	last := ""
	for range 2000 {
		e := Event{ID: strings.Trim(text("\r\n\x00"), " "), Name: text("\r\n"), Data: text("")}
		var err error
		stream, err = e.Append(stream)
		testkit.Must(t, err)
		stream = appendComment(stream, text(""))
		if e.ID != "" {
			last = e.ID
		}
		data := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(e.Data)
		want = append(want, received{last, e.Name, data})
	}
	var p parser
	p.text(string(stream))
	if len(p.events) != len(want) {
		t.Fatalf("%d events of %d were received", len(p.events), len(want))
	}
	for i, e := range want {
		if p.events[i] != e {
			t.Errorf("event %d is received as %q, want %q", i, p.events[i], e)
		}
	}
	if p.comments < len(want) {
		t.Errorf("%d comments", p.comments)
	}
}

// FuzzEvent holds that a client receives an event as it was sent, and nothing else.
func FuzzEvent(f *testing.F) {
	f.Add("1", "name", "data\r\nmore")
	f.Add("", "", "")
	f.Add("\x00", "\n", "\xff")
	f.Fuzz(func(t *testing.T, id, name, data string) {
		e := Event{ID: id, Name: name, Data: data}
		b, err := e.Append(nil)
		if err != nil {
			if b != nil || !errors.Is(err, ErrInvalid) {
				t.Fatalf("%q, %v", b, err)
			}
			return
		}
		var p parser
		p.text(string(b) + "data: end\n\n")
		data = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(data)
		if len(p.events) != 2 || p.events[0] != (received{id, name, data}) || p.events[1] != (received{id, "", "end"}) {
			t.Fatalf("%q is received as %q", b, p.events)
		}
	})
}

// The history has the latest events, within its limits, and finds those after an ID.
func TestTheHistoryIsBounded(t *testing.T) {
	h := history{maxEvents: 3, maxBytes: 10}
	ids := func(entries []entry) (all string) {
		for _, e := range entries {
			all += e.id
		}
		return all
	}
	for _, row := range []struct {
		id     string
		length int
		want   string
	}{
		{"a", 1, "a"}, {"b", 1, "ab"}, {"c", 1, "abc"}, {"d", 1, "bcd"}, {"e", 8, "cde"}, {"f", 3, "f"}, {"g", 20, "g"}, {"h", 1, "h"}, {"h", 1, "hh"}, {"i", 1, "hhi"},
	} {
		h.add(entry{row.id, bytes.Repeat([]byte("x"), row.length)})
		number, known := h.after("none")
		all := h.from(number)
		if ids(all) != row.want || known {
			t.Errorf("after %s: %s", row.id, ids(all))
		}
		if len(h.numbers) > len(h.entries) || h.bytes > 20 {
			t.Errorf("after %s: %d numbers, %d bytes", row.id, len(h.numbers), h.bytes)
		}
	}
	for id, want := range map[string]string{"h": "i", "i": "", "a": "hhi"} {
		number, known := h.after(id)
		if got := h.from(number); ids(got) != want || known == (id == "a") {
			t.Errorf("after %s follow %q, %v", id, ids(got), known)
		}
	}
}
