package memcache

import (
	"cmp"
	"fmt"
	"log/slog"
	"math"
	"net"
	"slices"
	"time"
)

// Protocol is the protocol that clients may use.
type Protocol uint8

const (
	Auto   Protocol = iota // the first byte of a connection decides
	Text                   // only the text protocol, with the meta commands
	Binary                 // only the binary protocol
)

// String returns the name of p in memcached's option -B. Any goroutine.
func (p Protocol) String() string {
	if p > Binary {
		return fmt.Sprintf("Protocol(%d)", uint8(p))
	}
	return [...]string{"auto-negotiate", "ascii", "binary"}[p]
}

// Defaults of the fields of a Config. Those that memcached has, too, have its values.
const (
	DefaultMemory     = 64 << 20
	DefaultMaxItem    = 1 << 20
	DefaultPerTurn    = 20
	DefaultWorkerLog  = 64 << 10
	DefaultWatcherLog = 256 << 10
)

// Limits of the fields of a Config, in bytes.
const (
	MinMemory        = 1 << 20
	MaxMemory  int64 = 2 << 40
	MaxMaxItem       = 1 << 30
)

// Config is the configuration of a Cache. The zero value is the default. New copies it: it does not change it, and later changes have no effect.
type Config struct {
	// Memory limits the memory of the items and of the tables that find them, in bytes, from MinMemory to MaxMemory. 0 means DefaultMemory; a negative
	// value is an error.
	Memory int64
	// MaxItem limits the size of an item in bytes, up to MaxMaxItem: the key, the value, and up to 63 bytes that memcached would add. 0 means
	// DefaultMaxItem; a negative value is an error.
	MaxItem int
	// NoEvict makes a full cache refuse new values. Otherwise it evicts items.
	NoEvict bool
	// NoCAS gives items no unique numbers: gets reports 0, cas and CompareAndSwap never succeed.
	NoCAS bool
	// NoFlush makes the cache refuse clients' flush_all. FlushAll is not affected.
	NoFlush bool
	// NoDump makes the cache refuse commands that list keys.
	NoDump bool
	// NoWatch makes the cache refuse the watch command.
	NoWatch bool
	// WorkerLog is the size in bytes of each loop's buffer for lines of the watch command. Lines that do not fit are dropped and counted. 0 means
	// DefaultWorkerLog, less than 4 KB means 4 KB, and a negative value, or more than 1 GB, is an error.
	WorkerLog int
	// WatcherLog is the maximum number of bytes of such lines that wait for a client to read them. Lines that do not fit are skipped and counted. 0
	// means DefaultWatcherLog, less than 4 KB means 4 KB, and a negative value, or more than 1 GB, is an error.
	WatcherLog int

	// Protocol is the protocol that clients may use.
	Protocol Protocol
	// PerTurn is the number of requests of a connection that are served before other connections are. 0 means DefaultPerTurn; a negative value
	// is an error.
	PerTurn int

	// Users, if not nil, makes clients authenticate, with the text protocol: their first command is a set whose value is a name and a password.
	// Protocol must not be Binary then, unless SASL is set.
	Users *Users
	// SASL makes clients authenticate as one of Users with the binary protocol. The text protocol is refused then: Protocol must not be Text.
	SASL bool

	// Shutdown is called for the shutdown command, on the connection's loop: it must not block. If it is nil, the command is refused.
	Shutdown func(graceful bool)

	// RefreshCerts reads the certificates of TLS again for the refresh_certs command. It is called on a goroutine of its own and may block. If it
	// is nil, the command is refused.
	RefreshCerts func() error

	// CertsRead returns the time when the certificates of TLS were last read: see RefreshCerts. If it is nil, stats has no lines about TLS. It may
	// be called on any goroutine and must not block.
	CertsRead func() time.Time

	// Waits returns how often and for how long in total the program has stopped accepting because of its connection limit. Nil means never. It
	// may be called on any goroutine and must not block.
	Waits func() (times uint64, total time.Duration)

	// Listeners returns the listeners from which the program itself accepts, for stats conns. Nil means none, and nil listeners are left out. It may be
	// called on any goroutine and must not block.
	Listeners func() []net.Listener

	// Verbosity is the initial level of the verbosity command: 1 logs errors, 2 also requests and answers. 0 logs neither, more than 2 means 2,
	// and a negative value is an error.
	Verbosity int
	// Logger logs what Verbosity selects. Nil means slog.Default(). It is called on a goroutine of its own and may block. While it blocks,
	// and above 1000 lines a second, lines are dropped, and a later line has their number.
	Logger *slog.Logger

	// Settings are lines of stats settings that the program provides: port, interface, threads. None by default.
	Settings []Setting

	// Clock is the time, in whole seconds, by which items expire. Nil means the system's, read four times a second. With a Clock, items that have
	// expired are found no more, as with the system's time, but their memory is not freed until they are looked up or room is needed.
	Clock Clock
}

// A Setting is a line of stats settings.
type Setting struct{ Name, Value string }

// A Clock provides the time. Its method is called for every request, on any goroutine, so it must be fast. It must not use the cache.
type Clock interface {
	// Unix returns the number of seconds since 1970. It must never decrease.
	Unix() int64
}

// tick is the interval at which the system's clock is read.
const tick = 250 * time.Millisecond

// resolved returns a copy of cfg with the defaults in the place of zeros; nil means the zero Config. The error is ErrInvalid.
func (cfg *Config) resolved() (c Config, err error) {
	if cfg != nil {
		c = *cfg
	}
	for _, f := range []struct {
		name        string
		value       int64
		least, most int64 // without 0, which means the default
	}{
		{"Memory", c.Memory, MinMemory, MaxMemory},
		{"MaxItem", int64(c.MaxItem), 1, MaxMaxItem},
		{"WorkerLog", int64(c.WorkerLog), 1, maxLog},
		{"WatcherLog", int64(c.WatcherLog), 1, maxLog},
		{"PerTurn", int64(c.PerTurn), 1, math.MaxInt64},
		{"Verbosity", int64(c.Verbosity), 1, math.MaxInt64},
	} {
		switch {
		case f.value == 0:
		case f.value < 0:
			return c, fmt.Errorf("%w: Config.%s is %d, negative", ErrInvalid, f.name, f.value)
		case f.value < f.least:
			return c, fmt.Errorf("%w: Config.%s is %d, less than %d", ErrInvalid, f.name, f.value, f.least)
		case f.value > f.most:
			return c, fmt.Errorf("%w: Config.%s is %d, more than %d", ErrInvalid, f.name, f.value, f.most)
		}
	}
	switch {
	case c.Protocol > Binary:
		return c, fmt.Errorf("%w: Config.Protocol is %d, not Auto, Text or Binary", ErrInvalid, c.Protocol)
	case c.SASL && c.Users == nil:
		return c, fmt.Errorf("%w: Config.SASL is set and Config.Users is nil", ErrInvalid)
	case c.SASL && c.Protocol == Text:
		return c, fmt.Errorf("%w: Config.SASL is set and Config.Protocol is %v, which has no SASL", ErrInvalid, c.Protocol)
	case c.Users != nil && !c.SASL && c.Protocol == Binary:
		return c, fmt.Errorf("%w: Config.Users is set without Config.SASL and Config.Protocol is %v, so no client could authenticate", ErrInvalid, c.Protocol)
	}
	c.Memory = cmp.Or(c.Memory, DefaultMemory)
	c.MaxItem = cmp.Or(c.MaxItem, DefaultMaxItem)
	c.PerTurn = cmp.Or(c.PerTurn, DefaultPerTurn)
	c.WorkerLog = max(cmp.Or(c.WorkerLog, DefaultWorkerLog), leastLog)
	c.WatcherLog = max(cmp.Or(c.WatcherLog, DefaultWatcherLog), leastLog)
	c.Settings = slices.Clone(c.Settings)
	return c, nil
}

// maxLog is the maximum size in bytes of a buffer for lines of the watch command.
const maxLog = 1 << 30
