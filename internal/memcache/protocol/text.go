package protocol

import "bytes"

// A Refusal is the answer to an invalid line, without the end of line.
type Refusal string

// The refusals of Text.
const (
	None       Refusal = "" // the line is valid
	Unknown    Refusal = "ERROR"
	BadFormat  Refusal = "CLIENT_ERROR bad command line format"
	BadExptime Refusal = "CLIENT_ERROR invalid exptime argument"
	BadDelta   Refusal = "CLIENT_ERROR invalid numeric delta argument"
	BadDelete  Refusal = "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]"
	// HTTP means that the line begins an HTTP request: the connection has to be closed without an answer.
	HTTP Refusal = "HTTP"
)

// commands are the commands of the text protocol except the meta commands, with the least and the greatest number of words, including the name.
// A maximum of 0 is none.
var commands = map[string]struct {
	op       Op
	min, max int
}{
	"get": {OpGet, 2, 0}, "gets": {OpGets, 2, 0}, "gat": {OpGat, 2, 0}, "gats": {OpGats, 2, 0}, "bget": {OpGet, 2, 0},
	"set": {OpSet, 5, 6}, "add": {OpAdd, 5, 6}, "replace": {OpReplace, 5, 6}, "append": {OpAppend, 5, 6},
	"prepend": {OpPrepend, 5, 6}, "cas": {OpCas, 6, 7},
	"incr": {OpIncr, 3, 4}, "decr": {OpDecr, 3, 4}, "touch": {OpTouch, 3, 4}, "delete": {OpDelete, 2, 4},
	"flush_all": {OpFlushAll, 1, 3}, "verbosity": {OpVerbosity, 2, 3}, "version": {OpVersion, 1, 0}, "quit": {OpQuit, 1, 0},
	"shutdown": {OpShutdown, 1, 0}, "stats": {OpStats, 1, 0}, "cache_memlimit": {OpMemLimit, 2, 3},
	"lru_crawler": {OpCrawler, 1, 0}, "lru": {OpLRU, 2, 0}, "slabs": {OpSlabs, 1, 0}, "watch": {OpWatch, 1, 0},
	"refresh_certs": {OpRefreshCert, 1, 0}, "extstore": {OpExtstore, 2, 0},
}

// Text parses a line, without its end, into r. If it is refused, the r.Follows bytes after the line must be discarded.
func Text(line []byte, r *Request) Refusal {
	r.Op, r.NoReply, r.Size, r.Follows = OpNone, false, 0, 0
	if IsHTTP(line) {
		return HTTP
	}
	if len(line) > 4 && line[0] == 'g' && line[1] == 'e' && line[2] == 't' && line[3] == ' ' { // the most frequent command
		r.Op = OpGet
		return r.keys(line[4:])
	}
	name, rest, _ := NextKey(line)
	if len(name) < 2 {
		return Unknown
	}
	if len(name) == 2 && name[0] == 'm' {
		why := r.meta(name[1], line)
		if why != None {
			r.NoReply = false // errors are always sent
		}
		return why
	}
	c, known := commands[string(name)]
	if !known {
		if namesHTTP(line) {
			return HTTP
		}
		return Unknown
	}
	r.Op = c.op
	switch c.op {
	case OpGet, OpGets:
		return r.keys(rest)
	case OpGat, OpGats:
		return r.getAndTouch(rest)
	}
	r.split(line)
	if len(r.Args) < c.min || c.max != 0 && len(r.Args) > c.max {
		return Unknown
	}
	return r.arguments(c.max)
}

// split divides line into words. The last element of r.words takes the rest of a line with more words.
func (r *Request) split(line []byte) {
	n := 0
	for n < len(r.words) {
		word, rest, ok := NextKey(line)
		if !ok {
			break
		}
		if n == len(r.words)-1 {
			word = bytes.TrimLeft(line, " ")
		}
		r.words[n] = word
		line = rest
		n++
	}
	r.Args = r.words[:n]
}

// keys sets the keys of a get. If one is too long, the whole request is refused.
func (r *Request) keys(keys []byte) Refusal {
	r.Keys = keys
	n := 0
	for {
		key, rest, ok := NextKey(keys)
		if !ok {
			break
		}
		if len(key) > MaxKey {
			return BadFormat
		}
		keys = rest
		n++
	}
	if n == 0 && (r.Op == OpGet || r.Op == OpGets) {
		return Unknown
	}
	return None
}

func (r *Request) getAndTouch(rest []byte) Refusal {
	word, rest, ok := NextKey(rest)
	if !ok {
		return Unknown
	}
	if r.Exptime, ok = parseInt32(word); !ok {
		return BadExptime
	}
	return r.keys(rest)
}

// arguments parses the words of a command that may have up to a number of words, or any number if most is 0.
func (r *Request) arguments(most int) Refusal {
	args := r.Args
	least := 2
	if r.Op == OpDelete {
		least = 3 // the key may be "noreply"
	}
	r.NoReply = most > 0 && len(args) >= least && string(args[len(args)-1]) == "noreply"
	switch r.Op {
	case OpSet, OpAdd, OpReplace, OpAppend, OpPrepend, OpCas:
		return r.storage()
	case OpIncr, OpDecr, OpTouch:
		if r.Key = args[1]; len(r.Key) > MaxKey {
			return BadFormat
		}
		var ok bool
		if r.Op == OpTouch {
			if r.Exptime, ok = parseInt32(args[2]); !ok {
				return BadExptime
			}
		} else if r.Delta, ok = parseUint(args[2]); !ok {
			return BadDelta
		}
	case OpDelete:
		return r.deletion()
	case OpFlushAll:
		return r.flush()
	case OpVerbosity:
		var ok bool
		if r.Level, ok = parseUint32(args[1]); !ok {
			return BadFormat
		}
	case OpMemLimit:
		var ok bool
		if r.Level, ok = parseUint32(args[1]); !ok {
			return Unknown
		}
	}
	return None
}

func (r *Request) storage() Refusal {
	args := r.Args
	if r.Key = args[1]; len(r.Key) > MaxKey {
		return BadFormat
	}
	var ok [4]bool
	var size int32
	r.Flags, ok[0] = parseUint32(args[2])
	r.Exptime, ok[1] = parseInt32(args[3])
	size, ok[2] = parseInt32(args[4])
	r.CAS, ok[3] = 0, true
	if r.Op == OpCas {
		r.CAS, ok[3] = parseUint(args[5])
	}
	if ok != [4]bool{true, true, true, true} || size < 0 || size > maxSize {
		return BadFormat
	}
	r.Size, r.Follows = int(size), int(size)+2
	return None
}

// maxSize is the maximum size of a value in bytes: with CR LF it fits into 31 bits.
const maxSize = 1<<31 - 1 - 2

// deletion parses delete. It allows a time of 0, which old clients send.
func (r *Request) deletion() Refusal {
	args := r.Args
	if len(args) > 2 {
		zero := string(args[2]) == "0"
		if (len(args) != 3 || !zero && !r.NoReply) && (len(args) != 4 || !zero || !r.NoReply) {
			return BadDelete
		}
	}
	if r.Key = args[1]; len(r.Key) > MaxKey {
		return BadFormat
	}
	return None
}

func (r *Request) flush() Refusal {
	r.Exptime = 0
	if len(r.Args) > 2 || len(r.Args) == 2 && !r.NoReply {
		var ok bool
		if r.Exptime, ok = parseInt32(r.Args[1]); !ok {
			return BadExptime
		}
	}
	return None
}

// AuthSize parses the line of the set command with which a client of the text protocol authenticates, and returns the length of the value. The
// other arguments have no meaning.
func AuthSize(line []byte) (size int, ok bool) {
	var words [5][]byte
	for i := range words {
		words[i], line, ok = NextKey(line)
		if !ok {
			return 0, false
		}
	}
	n, ok := parseUint32(words[4])
	if !ok || n > maxSize || string(words[0]) != "set" {
		return 0, false
	}
	return int(n), true
}
