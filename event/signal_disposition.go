package event

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// dispositions records the earlier dispositions of the signals that loops wait for. When the last channel of an ignored signal stops,
// os/signal gives the signal its default disposition, which for SIGTERM or SIGHUP ends the program.
var dispositions struct {
	mu   sync.Mutex // guards used, and is held during the calls of os/signal
	used map[syscall.Signal]*disposition
}

type disposition struct {
	channels int  // of all loops
	ignored  bool // before the first of them
}

// startSignal registers ch for sig.
func startSignal(ch chan<- os.Signal, sig syscall.Signal) {
	dispositions.mu.Lock()
	defer dispositions.mu.Unlock()
	d := dispositions.used[sig]
	if d == nil {
		if dispositions.used == nil {
			dispositions.used = map[syscall.Signal]*disposition{}
		}
		d = &disposition{ignored: signal.Ignored(sig)}
		dispositions.used[sig] = d
	}
	d.channels++
	signal.Notify(ch, sig)
}

// stopSignal reverts startSignal. The last one restores the signal's disposition.
func stopSignal(ch chan<- os.Signal, sig syscall.Signal) {
	dispositions.mu.Lock()
	defer dispositions.mu.Unlock()
	d := dispositions.used[sig]
	if d.channels--; d.channels == 0 {
		delete(dispositions.used, sig)
		if d.ignored {
			signal.Ignore(sig) // before Stop, so that the signal never has its default disposition
		}
	}
	signal.Stop(ch)
}
