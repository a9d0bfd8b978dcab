package protocol

// Op is what a request asks for.
type Op uint8

// The operations. Those of the binary protocol that a text command knows are the same.
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
	OpShutdown // Args are its words
	OpStats    // the same
	OpMemLimit
	OpCrawler // lru_crawler; Args
	OpLRU     // lru; Args
	OpSlabs   // slabs; Args
	OpWatch   // watch; Args
	OpMetaGet
	OpMetaSet
	OpMetaDelete
	OpMetaArith
	OpMetaNoop
	OpMetaDebug
	OpRefreshCert // refresh_certs
	OpExtstore    // extstore; Args
)

// Stores reports whether a value follows the command.
func (op Op) Stores() bool { return OpSet <= op && op <= OpCas || op == OpMetaSet }

const (
	// MaxKey is how long a key may be, in bytes.
	MaxKey = 250
	// MaxOpaque is how long the token of a meta command's flag O may be, with the O.
	MaxOpaque = 32
	// MaxLine is how long a line may grow without an end, if it does not ask for many keys.
	MaxLine = 2048

	maxTokens     = 24
	maxMetaTokens = 20
)

// A Request is one command. Slices show the input.
type Request struct {
	Op      Op
	NoReply bool
	Key     []byte
	Keys    []byte // of a get: words, the first key first
	Flags   uint32
	Exptime int32 // as the client wrote it: relative, absolute or negative
	Size    int   // of the value that follows
	Follows int   // bytes that follow the line and belong to it: the value and CR LF, also after some refusals
	CAS     uint64
	Delta   uint64
	Level   uint32   // verbosity, megabytes
	Args    [][]byte // the words, the command's name first
	Meta    Meta

	words   [maxTokens][]byte
	decoded [MaxKey + 2]byte
}

// NextKey cuts the first word off keys. ok is false when none is left.
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
