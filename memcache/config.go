package memcache

import (
	"fmt"
	"log/slog"
	"net"
	"time"
)

// Protocol is the protocol that clients may use.
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

// Config is the configuration of a Cache. The zero value is the default.
type Config struct {
	// Memory bounds the items and the tables of the store, in bytes. 0 means DefaultMemory.
	Memory int64
	// MaxItem bounds an item in bytes: its key and value, and what memcached would add, some 60 bytes. 0 means DefaultMaxItem.
	MaxItem int
	// NoEvict makes a full cache refuse new values instead of evicting items.
	NoEvict bool
	// NoCAS gives items no unique numbers: cas and gets report 0.
	NoCAS bool
	// NoFlush refuses flush_all, NoDump the commands that list keys.
	NoFlush, NoDump bool
	// NoWatch refuses the watch command.
	NoWatch bool
	// WorkerLog is the size in bytes of each loop's buffer for lines of the watch command, WatcherLog that of each watching client. Lines
	// that do not fit are dropped and counted. 0 means DefaultWorkerLog and DefaultWatcherLog; lower values than 4 KB mean 4 KB.
	WorkerLog, WatcherLog int

	// Protocol is the protocol that clients may use.
	Protocol Protocol
	// PerTurn is the number of requests of a connection that are served before other connections are. 0 means DefaultPerTurn.
	PerTurn int

	// Users, if set, makes clients authenticate: a text client's first command is a set whose value is a name and a password.
	Users *Users
	// SASL makes a binary client authenticate as one of Users; a text client is refused then.
	SASL bool

	// Shutdown, if set, is called by the shutdown command, on a connection's loop: it must not block. Without it the command
	// is refused.
	Shutdown func(graceful bool)

	// RefreshCerts, if set, reads the certificates of TLS anew for the refresh_certs command. It is called on a goroutine of its own.
	RefreshCerts func() error

	// CertsRead, if set, returns the time when the certificates of TLS were last read: see RefreshCerts. Then stats has lines about TLS.
	CertsRead func() time.Time

	// Waits, if set, returns how often and for how long in total the program has stopped accepting because of its connection limit.
	Waits func() (times uint64, total time.Duration)

	// Listeners, if set, returns the listeners from which the program itself accepts, for stats conns.
	Listeners func() []net.Listener

	// Verbosity is where the verbosity command begins: 1 logs errors, 2 requests and answers too.
	Verbosity int
	// Logger logs what Verbosity selects. Nil means slog.Default(). It is called on a goroutine of its own and may block. While it blocks,
	// and above 1000 lines a second, lines are dropped, and a later line has their number.
	Logger *slog.Logger

	// Settings are lines of stats settings that the program provides: port, interface, threads.
	Settings []Setting

	// Clock is the time, in whole seconds, that expiry counts in. Nil means the real one, read four times a second. A test brings its own.
	Clock Clock
}

// A Setting is a line of stats settings.
type Setting struct{ Name, Value string }

// A Clock provides the time. It is called for every request, on every loop, and must be cheap.
type Clock interface {
	// Unix is the seconds since 1970. It never goes back.
	Unix() int64
}

// tick is how often the real clock is read.
const tick = 250 * time.Millisecond
