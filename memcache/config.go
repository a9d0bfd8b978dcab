package memcache

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"
)

// Protocol is what a client may speak.
type Protocol uint8

const (
	Auto   Protocol = iota // the first byte of a connection says which
	Text                   // the text protocol alone, with the meta commands
	Binary                 // the binary protocol alone
)

// String is the name that the command line has for it.
func (p Protocol) String() string {
	if p > Binary {
		return fmt.Sprintf("Protocol(%d)", uint8(p))
	}
	return [...]string{"auto-negotiate", "ascii", "binary"}[p]
}

// Defaults of a Config's fields, which a zero stands for. All are memcached's.
const (
	DefaultMemory  = 64 << 20
	DefaultMaxItem = 1 << 20
	DefaultPerTurn = 20

	DefaultWorkerLog  = 64 << 10
	DefaultWatcherLog = 256 << 10
)

// Config is how a Cache behaves. The zero value will do.
type Config struct {
	// Memory bounds what is stored, in bytes, with all that the store needs to find it. 0 means DefaultMemory.
	Memory int64
	// MaxItem bounds an item in bytes: its key and value, and what memcached would add, some 60 bytes. 0 means DefaultMaxItem.
	MaxItem int
	// NoEvict makes a full cache refuse instead of evicting.
	NoEvict bool
	// NoCAS gives items no unique numbers: cas and gets report 0.
	NoCAS bool
	// NoFlush refuses flush_all, NoDump the commands that list keys.
	NoFlush, NoDump bool
	// NoWatch refuses the watch command.
	NoWatch bool
	// WorkerLog is how many bytes of lines for the watch command each loop may have waiting, WatcherLog how many each client that
	// watches. Lines above that are left out and counted. 0 means DefaultWorkerLog and DefaultWatcherLog; the least is 4 KB.
	WorkerLog, WatcherLog int

	// Protocol is what clients may speak.
	Protocol Protocol
	// PerTurn is how many requests of a connection are handled before the others have their turn. 0 means DefaultPerTurn.
	PerTurn int

	// Users, if set, are who may use the cache: a text client's first command is a set whose value is name and password.
	Users *Users
	// SASL makes a binary client authenticate as one of Users; a text client is refused then.
	SASL bool

	// Shutdown, if set, is called by the shutdown command, on a connection's loop: it must not block. Without it the command
	// is refused.
	Shutdown func(graceful bool)

	// RefreshCerts, if set, reads the certificates of TLS anew for the refresh_certs command. It is called on a goroutine of its own.
	RefreshCerts func() error

	// CertsRead, if set, says when the certificates of TLS were read last: see RefreshCerts. Then stats has lines about TLS.
	CertsRead func() time.Time

	// Waits, if set, says how often and for how long a program that lets clients wait, instead of refusing them, has let none in.
	Waits func() (times uint64, total time.Duration)

	// Listeners, if set, are those from which the program accepts itself instead of a server: stats conns reports them.
	Listeners func() []net.Listener

	// Verbosity is where the verbosity command begins: 1 logs errors, 2 requests and answers too.
	Verbosity int
	// Logger takes what Verbosity asks for. Nil means slog.Default(). It is called on a goroutine of its own and may block: while it
	// does, and where clients cause more than 1000 lines a second, lines are left out and then counted in a line.
	Logger *slog.Logger

	// Settings are lines of the answer to stats settings that only the program knows: port, interface, threads.
	Settings []Setting

	// Clock is the time, in whole seconds, that expiry counts in. Nil means the real one, read four times a second. A test brings its own.
	Clock Clock
}

// A Setting is a name and its value.
type Setting struct{ Name, Value string }

// A Clock tells the time. It is asked for every request, on every loop, and so must be cheap.
type Clock interface {
	// Unix is the seconds since 1970. It never goes back.
	Unix() int64
}

// ErrConfig says which field of a Config makes no sense.
var ErrConfig = errors.New("memcache: bad configuration")

// tick is how often the real clock is read.
const tick = 250 * time.Millisecond
