package event

import (
	"strings"

	"github.com/evmq/evmq/internal/poller"
)

// Flags are conditions that an event waits for, options of the wait, and the conditions that have occurred. The values are libevent's.
type Flags uint16

const (
	// Timeout is reported when the time given to Add has passed. It is implied and need not be set.
	Timeout Flags = 0x01
	// Read waits until a read would not block: there is data, the end of the file, a new connection or an error.
	Read Flags = 0x02
	// Write waits until a write would not block: there is buffer space, or an error.
	Write Flags = 0x04
	// Signal waits for a signal of the operating system; the descriptor is the signal's number. It can be combined with Persist
	// and timeouts, and with no other condition.
	Signal Flags = 0x08
	// Persist keeps an event added after its callback was chosen; without it an event is removed just before.
	Persist Flags = 0x10
	// EdgeTriggered reports changes of a descriptor instead of its state. A callback must read or write until the call would
	// block, or call Activate to be called again; remaining data is not reported again. A condition that already holds when an event
	// starts to wait for it is reported, then also to the descriptor's other events. All events of a descriptor must agree on it.
	EdgeTriggered Flags = 0x20
	// Closed waits until the peer has closed its sending half or reset the connection, without a read.
	Closed Flags = 0x80
	// HangUp waits until the descriptor has an error, as after a reset, or both of its directions have ended. It does not report data or
	// the end of one direction. It is for a connection that is not read from and whose peer may have closed its sending half, which
	// Closed would report in each turn. Every backend supports it, and it is reported in each turn while it holds.
	HangUp Flags = 0x400
)

const (
	readiness = Read | Write | Closed | HangUp
	outcomes  = Timeout | Signal | readiness
	allFlags  = outcomes | Persist | EdgeTriggered
)

// The poller's conditions have the same values, so that a set passes through unchanged.
const (
	_ = uint(Read-Flags(poller.Read)) + uint(Flags(poller.Read)-Read)
	_ = uint(Write-Flags(poller.Write)) + uint(Flags(poller.Write)-Write)
	_ = uint(Closed-Flags(poller.Closed)) + uint(Flags(poller.Closed)-Closed)
	_ = uint(EdgeTriggered-Flags(poller.Edge)) + uint(Flags(poller.Edge)-EdgeTriggered)
)

var flagNames = [...]struct {
	flag Flags
	name string
}{
	{Timeout, "Timeout"}, {Read, "Read"}, {Write, "Write"}, {Signal, "Signal"},
	{Persist, "Persist"}, {EdgeTriggered, "EdgeTriggered"}, {Closed, "Closed"}, {HangUp, "HangUp"},
}

// String lists the flags, separated by "|"; "0" if there are none. Any goroutine.
func (f Flags) String() string {
	if f == 0 {
		return "0"
	}
	var set []string
	for _, n := range flagNames {
		if f&n.flag != 0 {
			set = append(set, n.name)
		}
	}
	if f&^allFlags != 0 {
		set = append(set, "invalid")
	}
	return strings.Join(set, "|")
}
