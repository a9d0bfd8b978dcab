package event_test

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// hangups are the two ways in which a peer ends what it sends.
var hangups = []struct {
	name string
	do   func(peer *os.File, fd int) error
}{
	{"close", func(peer *os.File, _ int) error { return peer.Close() }},
	{"shutdown", func(_ *os.File, fd int) error { return unix.Shutdown(fd, unix.SHUT_WR) }},
}

// Closed comes when the peer closes or shuts down its half, without a read: once, or, level-triggered and persistent, in
// every turn; with EdgeTriggered only when something changes.
func TestClosedIsReportedWithoutReading(t *testing.T) {
	for _, c := range []struct {
		flags event.Flags
		calls int // in five turns
	}{
		{event.Closed, 1},
		{event.Closed | event.Persist, 5},
		{event.Closed | event.EdgeTriggered, 1},
		{event.Closed | event.EdgeTriggered | event.Persist, 1},
	} {
		for _, h := range hangups {
			t.Run(h.name+" "+c.flags.String(), func(t *testing.T) {
				l := testkit.NewLoop(t, nil)
				_, peer, fd, fp := pair(t)
				if missing := missingFeatures(l, c.flags); missing != 0 {
					_, err := l.NewEvent(fd, c.flags, func(*event.Event, event.Flags) {})
					testkit.WantErr(t, err, event.ErrUnsupported)
					return
				}
				calls := 0
				e := eventFor(t, l, fd, c.flags, func(_ *event.Event, what event.Flags) {
					calls++
					testkit.WantEqual(t, "what", what, c.flags&^event.Persist)
				})
				testkit.Must(t, e.Add(event.NoTimeout))
				send(t, fp, "unread")
				turns(t, l, 3)
				testkit.WantEqual(t, "calls before", calls, 0)
				testkit.Must(t, h.do(peer, fp))
				turns(t, l, 5)
				testkit.WantEqual(t, "calls", calls, c.calls)
				testkit.WantEqual(t, "added", e.Added(), c.flags&event.Persist != 0)
				s, err := receive(fd)
				testkit.WantEqual(t, "data", s, "unread")
				testkit.WantErr(t, err, io.EOF)
			})
		}
	}
}

func missingFeatures(l *event.Loop, flags event.Flags) (missing event.Features) {
	if flags&event.EdgeTriggered != 0 {
		missing |= event.FeatureEdge &^ l.Features()
	}
	if flags&event.Closed != 0 {
		missing |= event.FeatureClosed &^ l.Features()
	}
	return missing
}

// The peer's close makes its socket readable; the room that it gives makes a full one writable too.
func TestPeersCloseIsReadableAndWritable(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	_, peer, fd, _ := pair(t)
	fill(t, fd)
	var got event.Flags
	see := func(_ *event.Event, what event.Flags) { got |= what }
	testkit.Must(t, eventFor(t, l, fd, event.Read, see).Add(event.NoTimeout))
	testkit.Must(t, eventFor(t, l, fd, event.Write, see).Add(event.NoTimeout))
	turns(t, l, 3)
	testkit.WantEqual(t, "told before", got, 0)
	testkit.Must(t, peer.Close())
	testkit.Run(t, l)
	testkit.WantEqual(t, "told", got, event.Read|event.Write)
}

// A reader sees all data before the end of the file, and then the end.
func TestReaderSeesAllDataBeforeTheEnd(t *testing.T) {
	const text = "some text before the end of the file"
	for _, h := range hangups {
		t.Run(h.name, func(t *testing.T) {
			l := testkit.NewLoop(t, nil)
			_, peer, fd, fp := pair(t)
			send(t, fp, text)
			testkit.Must(t, h.do(peer, fp))
			var got strings.Builder
			reads := 0
			e := eventFor(t, l, fd, event.Read|event.Persist, func(e *event.Event, _ event.Flags) {
				reads++
				var buf [10]byte
				n, err := unix.Read(fd, buf[:])
				testkit.Must(t, err)
				got.Write(buf[:n])
				if n == 0 {
					testkit.Must(t, e.Del())
				}
			})
			testkit.Must(t, e.Add(event.NoTimeout))
			testkit.Run(t, l)
			testkit.WantEqual(t, "data", got.String(), text)
			testkit.WantEqual(t, "reads", reads, (len(text)+9)/10+1)
		})
	}
}

// A writer whose peer goes away is called and learns it from its write.
func TestWriterLearnsThatItsPeerIsGone(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	_, peer, fd, fp := pair(t)
	fill(t, fd)
	var failed error
	e := eventFor(t, l, fd, event.Write|event.Persist, func(e *event.Event, _ event.Flags) {
		if _, failed = unix.Write(fd, []byte("x")); failed != nil && !errors.Is(failed, unix.EAGAIN) {
			testkit.Must(t, e.Del())
		}
	})
	testkit.Must(t, e.Add(event.NoTimeout))
	reader := eventFor(t, l, fp, event.Read, func(*event.Event, event.Flags) { testkit.Must(t, peer.Close()) })
	testkit.Must(t, reader.Add(event.NoTimeout))
	testkit.Run(t, l)
	testkit.WantErr(t, failed, unix.EPIPE)
}
