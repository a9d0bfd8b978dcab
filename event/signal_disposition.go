package event

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// dispositions remembers what the signals that loops wait for did before: os/signal gives one that was ignored its default effect
// when the last channel stops, which for SIGTERM or SIGHUP is the end of the program.
var dispositions struct {
	mu   sync.Mutex // guards what follows, and makes one step of it and the call of os/signal
	used map[syscall.Signal]*disposition
}

type disposition struct {
	channels int  // of all loops
	ignored  bool // before the first of them
}

// startSignal has sig sent to ch.
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

// stopSignal takes startSignal back. After the last one the signal does what it did before.
func stopSignal(ch chan<- os.Signal, sig syscall.Signal) {
	dispositions.mu.Lock()
	defer dispositions.mu.Unlock()
	d := dispositions.used[sig]
	if d.channels--; d.channels == 0 {
		delete(dispositions.used, sig)
		if d.ignored {
			signal.Ignore(sig) // before Stop, so that there is no moment at which the signal has its default effect
		}
	}
	signal.Stop(ch)
}
