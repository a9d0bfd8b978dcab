package protocol

// Op is the command of a request.
type Op uint8

// The commands of the text protocol. The binary protocol uses those that it also has.
const (
	OpNone Op = iota
	OpGet     // the keys are Request.Keys
	OpGets    // the same, with the items' unique numbers
	OpGat     // get and touch
	OpGats
	OpSet
	OpAdd
	OpReplace
	OpAppend
	OpPrepend
	OpCas
	OpIncr
	OpDecr
	OpTouch
	OpDelete
	OpFlushAll
	OpVerbosity
	OpVersion
	OpQuit
	OpShutdown // with Args
	OpStats    // with Args
	OpMemLimit
	OpCrawler // lru_crawler, with Args
	OpLRU     // lru, with Args
	OpSlabs   // slabs, with Args
	OpWatch   // watch, with Args
	OpMetaGet
	OpMetaSet
	OpMetaDelete
	OpMetaArith
	OpMetaNoop
	OpMetaDebug
	OpRefreshCert // refresh_certs
	OpExtstore    // extstore, with Args
)

// Stores reports whether a value follows the command.
func (op Op) Stores() bool { return OpSet <= op && op <= OpCas || op == OpMetaSet }

const (
	// MaxKey is the maximum length of a key in bytes.
	MaxKey = 250
	// MaxOpaque is the maximum length in bytes of a meta command's flag O and its token.
	MaxOpaque = 32
	// MaxLine is the maximum length in bytes of an incomplete line, except for the commands that have any number of keys.
	MaxLine = 2048

	maxTokens     = 24
	maxMetaTokens = 20
)

// A Request is one command. Its slices are parts of the input.
type Request struct {
	Op      Op
	NoReply bool
	Key     []byte
	Keys    []byte // of a get: the keys, separated by spaces
	Flags   uint32
	Exptime int32 // as in the request: relative, absolute or negative
	Size    int   // of the value that follows
	Follows int   // bytes that follow the line and belong to it: the value and CR LF, also after some refusals
	CAS     uint64
	Delta   uint64
	Level   uint32   // verbosity, megabytes
	Args    [][]byte // the words of the line; the first is the name of the command
	Meta    Meta

	words   [maxTokens][]byte
	decoded [MaxKey + 2]byte
}

// NextKey returns the first word of keys, and the rest. ok is false if there is none.
func NextKey(keys []byte) (key, rest []byte, ok bool) {
	i := 0
	for i < len(keys) && keys[i] == ' ' {
		i++
	}
	j := i
	for j < len(keys) && keys[j] != ' ' {
		j++
	}
	return keys[i:j], keys[j:], j > i
}
