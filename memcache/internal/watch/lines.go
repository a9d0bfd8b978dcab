package watch

// A Get is the event that a key was looked up.
type Get struct {
	Key    []byte
	Status string // found, not_found, flushed or expired
	Class  int    // number of the item's class, 0 without an item
	FD     int    // descriptor of the connection
	Size   int    // of the value, in bytes
}

// Get writes a line about a key that was looked up.
func (b *Buffer) Get(g *Get) {
	p := b.begin(Fetchers, "item_get")
	if p == nil {
		return
	}
	p = key(p, g.Key)
	p = word(p, " status=", g.Status)
	p = number(p, " clsid=", int64(g.Class))
	p = number(p, " cfd=", int64(g.FD))
	p = number(p, " size=", int64(g.Size))
	b.end(p)
}

// A Store is the event that a value was stored or refused.
type Store struct {
	Key     []byte
	Status  string // stored, not_stored, exists, not_found, too_large or no_memory
	Command string // set, add, replace, append, prepend or cas
	TTL     uint32 // seconds until it expires, 0 for never
	Class   int    // number of the item's class
	FD      int    // descriptor of the connection
	Size    int    // of the value, in bytes
}

// Store writes a line about a value that was stored or refused.
func (b *Buffer) Store(s *Store) {
	p := b.begin(Mutations, "item_store")
	if p == nil {
		return
	}
	p = key(p, s.Key)
	p = word(p, " status=", s.Status)
	p = word(p, " cmd=", s.Command)
	p = number(p, " ttl=", int64(s.TTL))
	p = number(p, " clsid=", int64(s.Class))
	p = number(p, " cfd=", int64(s.FD))
	p = number(p, " size=", int64(s.Size))
	b.end(p)
}

// An Eviction is the event that an item was evicted.
type Eviction struct {
	Key     []byte
	Fetched bool
	TTL     int64 // seconds until it would have expired, -1 for never
	Idle    int64 // seconds since it was last used
	Class   int   // number of its class
	Size    int   // of its value, in bytes
}

// Eviction writes a line about an item that is evicted.
func (b *Buffer) Eviction(e *Eviction) {
	p := b.begin(Evictions, "eviction")
	if p == nil {
		return
	}
	fetched := "no"
	if e.Fetched {
		fetched = "yes"
	}
	p = key(p, e.Key)
	p = word(p, " fetch=", fetched)
	p = number(p, " ttl=", e.TTL)
	p = number(p, " la=", e.Idle)
	p = number(p, " clsid=", int64(e.Class))
	p = number(p, " size=", int64(e.Size))
	b.end(p)
}

// A Connection describes a connection that is opened or closed.
type Connection struct {
	Host      string // the peer's address, or unix
	Port      int    // the peer's, 0 for a unix socket
	Transport string // tcp or local
	FD        int
}

// Opened writes a line about a connection that was opened.
func (b *Buffer) Opened(c *Connection) {
	if p := b.begin(Connections, "conn_new"); p != nil {
		b.end(number(peer(p, c), " cfd=", int64(c.FD)))
	}
}

// Closed writes a line about a connection that was closed. The reason is normal, error, idle_timeout or shutdown.
func (b *Buffer) Closed(c *Connection, reason string) {
	if p := b.begin(Connections, "conn_close"); p != nil {
		p = word(peer(p, c), " reason=", reason)
		b.end(number(p, " cfd=", int64(c.FD)))
	}
}

// peer appends the address of the client.
func peer(p []byte, c *Connection) []byte {
	p = word(p, " rip=", c.Host)
	p = number(p, " rport=", int64(c.Port))
	return word(p, " transport=", c.Transport)
}
