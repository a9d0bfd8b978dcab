package protocol

import "encoding/base64"

// Refusals of meta commands.
const (
	DuplicateFlag  Refusal = "CLIENT_ERROR duplicate flag"
	InvalidFlag    Refusal = "CLIENT_ERROR invalid flag"
	BadFlags       Refusal = "CLIENT_ERROR invalid or duplicate flag"
	TooManyOptions Refusal = "CLIENT_ERROR options flags are too long"
	TooManyFlags   Refusal = "CLIENT_ERROR options flags too long"
	BadKey         Refusal = "CLIENT_ERROR error decoding key"
	BadToken       Refusal = "CLIENT_ERROR bad token in command line format"
	BadMode        Refusal = "CLIENT_ERROR incorrect length for M token"
	BadInitial     Refusal = "CLIENT_ERROR invalid numeric initial value"
	BadMetaDelta   Refusal = "CLIENT_ERROR invalid numeric delta value"
	OpaqueTooLong  Refusal = "CLIENT_ERROR opaque token too long"
	BadSetMode     Refusal = "CLIENT_ERROR invalid mode for ms M token"
	BadArithMode   Refusal = "CLIENT_ERROR invalid mode for ma M token"
)

// Meta are the flags of a meta command.
type Meta struct {
	Words     [][]byte // all flags, in the order in which they are answered
	Value     bool     // v
	NoUpdate  bool     // u: the get does not count as a use
	BinaryKey bool     // b: Request.Key was encoded in base64
	Stale     bool     // I
	Vivify    bool     // N, with its time
	VivifyTTL int32
	NewTTL    bool // T, with its time
	TTL       int32
	RecacheAt int32  // R
	HasCAS    bool   // C, with Request.CAS
	Mode      byte   // M
	Initial   uint64 // J
}

// meta parses the line of the meta command whose name is m and letter.
func (r *Request) meta(letter byte, line []byte) Refusal {
	switch letter {
	case 'g':
		r.Op = OpMetaGet
	case 's':
		r.Op = OpMetaSet
	case 'd':
		r.Op = OpMetaDelete
	case 'a':
		r.Op = OpMetaArith
	case 'e':
		r.Op = OpMetaDebug
	case 'n':
		r.Op = OpMetaNoop
		return None
	default:
		return Unknown
	}
	r.split(line)
	args := r.Args
	if len(args) < 2 {
		if r.Op == OpMetaDebug {
			return BadFormat
		}
		return Unknown
	}
	if r.Key = args[1]; len(r.Key) > MaxKey {
		return BadFormat
	}
	r.Flags, r.Exptime, r.CAS, r.Delta, r.Meta = 0, 0, 0, 1, Meta{}
	switch r.Op {
	case OpMetaDebug:
		return r.debug()
	case OpMetaSet:
		return r.metaSet()
	}
	if len(args)+1 > maxMetaTokens {
		if r.Op == OpMetaGet {
			return TooManyOptions
		}
		return TooManyFlags
	}
	why := r.metaFlags(args[2:])
	switch {
	case why != None && r.Op != OpMetaGet:
		return BadFlags
	case why != None:
		return why
	}
	if r.Op == OpMetaArith {
		switch r.Meta.Mode {
		case 0, 'I', '+', 'D', '-':
		default:
			return BadArithMode
		}
	}
	return r.opaque()
}

func (r *Request) debug() Refusal {
	if len(r.Args) > 2 && string(r.Args[2]) == "b" && !r.decodeKey() {
		return BadFormat
	}
	return None
}

// metaSet parses ms. If the size is valid and a flag is not, Follows is set, so that the value is discarded.
func (r *Request) metaSet() Refusal {
	args := r.Args
	if len(args) < 3 {
		return BadFormat
	}
	if len(args)+1 > maxMetaTokens {
		return TooManyFlags
	}
	size, ok := parseInt32(args[2])
	if !ok || size < 0 || size > maxSize {
		return BadFormat
	}
	r.Size, r.Follows = int(size), int(size)+2
	if why := r.metaFlags(args[3:]); why != None {
		return why
	}
	if why := r.opaque(); why != None {
		return why
	}
	switch r.Meta.Mode {
	case 0, 'S', 'E', 'A', 'P', 'R':
	default:
		return BadSetMode
	}
	return None
}

func (r *Request) opaque() Refusal {
	for _, w := range r.Meta.Words {
		if w[0] == 'O' && len(w) > MaxOpaque {
			return OpaqueTooLong
		}
	}
	return None
}

// metaFlags parses the flags. It parses all of them before it returns a refusal: that of the last invalid value that has one of its own.
func (r *Request) metaFlags(words [][]byte) Refusal {
	var seen [128]bool
	r.Meta.Words = words
	why := None
	for _, w := range words {
		f := w[0]
		if f >= 127 || seen[f] {
			return DuplicateFlag
		}
		seen[f] = true
		switch refusal := r.metaFlag(f, w[1:]); {
		case refusal == None, refusal == BadFormat && why != None:
		case refusal == InvalidFlag:
			return InvalidFlag
		default:
			why = refusal
		}
	}
	return why
}

// metaFlag parses one flag. A refusal other than InvalidFlag is for its value: BadFormat if it has none of its own.
func (r *Request) metaFlag(f byte, value []byte) Refusal {
	m := &r.Meta
	switch f {
	case 'O', 'P', 'L', 'k', 's', 't', 'c', 'f', 'l', 'h': // these only matter to the answer
	case 'F', 'C', 'D', 'J', 'N', 'R', 'T':
		return r.metaNumber(f, value)
	case 'b':
		m.BinaryKey = true
		if !r.decodeKey() {
			return BadKey
		}
	case 'v':
		m.Value = true
	case 'u':
		m.NoUpdate = true
	case 'q':
		r.NoReply = true
	case 'I':
		m.Stale = true
	case 'M':
		if len(value) != 1 {
			return BadMode
		}
		m.Mode = value[0]
	default:
		return InvalidFlag
	}
	return None
}

// metaNumber parses a flag whose value is a number.
func (r *Request) metaNumber(f byte, value []byte) Refusal {
	m := &r.Meta
	ok, refusal := false, BadToken
	switch f {
	case 'F':
		r.Flags, ok = parseUint32(value)
		refusal = BadFormat
	case 'C':
		m.HasCAS = true
		r.CAS, ok = parseUint(value)
	case 'D':
		r.Delta, ok = parseUint(value)
		refusal = BadMetaDelta
	case 'J':
		m.Initial, ok = parseUint(value)
		refusal = BadInitial
	case 'N':
		m.Vivify = true
		m.VivifyTTL, ok = parseInt32(value)
	case 'R':
		m.RecacheAt, ok = parseInt32(value)
	case 'T':
		m.NewTTL = true
		m.TTL, ok = parseInt32(value)
	}
	if !ok {
		return refusal
	}
	return None
}

// decodeKey replaces the key, which is encoded in base64, with the decoded key.
func (r *Request) decodeKey() bool {
	n, err := base64.StdEncoding.Decode(r.decoded[:], r.Key)
	if err != nil || n == 0 {
		return false
	}
	r.Key = r.decoded[:n]
	return true
}
