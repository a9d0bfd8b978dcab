package archtest

// wordlist is this file, which alone is not searched for the words in it.
const wordlist = "internal/archtest/wordlist_test.go"

// A word is one that readers of other software do not know in the sense in which this repository used it, and what to write instead.
type word struct {
	forms  string // separated by commas; a form may be several words
	better string
	term   string   // a regular expression for places where it is a term of the field, or a name that others have given
	files  []string // patterns of files that treat of something that has this name
}

// words occur nowhere: not in names of files, in identifiers (bothWait is both and wait), comments, strings or texts.
var words = []word{
	{forms: "rouse, rouses, roused, rousing", better: "wake"},
	{forms: "bury, buries, buried, burying", better: "close, release, notifyClosed"},
	{forms: "poke, pokes, poked, poking", better: "requeue, wake"},
	{forms: "hungry, hunger", better: "waiting for room, backlog"},
	{forms: "starved", better: "waiting for room, not served; starvation is a term"},
	{forms: "choke, chokes, choked, choking", better: "over the high-water mark, blocked"},
	{forms: "deaf", better: "discarding input"},
	{forms: "stuffed", better: "full, at the limit", term: `(dot|byte)-stuffed`, files: []string{"examples/smtp/*", "examples/smtp_test.go", "server/framing/*"}},
	{forms: "crowded", better: "at the limit"},
	{forms: "wish, wishes, wished, wishing", better: "pending command, request"},
	{forms: "calm, calmer, calmed", better: "idle, quiet"},
	{forms: "hurry, hurries, hurried", better: "close now, with a deadline"},
	{forms: "enrol, enroll, enrolls, enrolled", better: "add, register"},
	{forms: "speech", better: "protocol"},
	{forms: "dear, dearer, dearly", better: "expensive"},
	{forms: "tell end, depart, departs, departed, departing", better: "notify of the close, release"},
	{forms: "look aloud, louder", better: "poll through the system call of the runtime"},
	{forms: "draw the consequences, draws the consequences, drawn the consequences", better: "apply, handle"},
	{forms: "is to lie, are to lie, was to lie, were to lie", better: "is stored"},
	{forms: "is hung up, are hung up, was hung up", better: "is closed, is disconnected"},
	{forms: "unheard", better: "without an error"},
	{forms: "nobody, nobodys", better: "no goroutine, no client, nothing; or the passive voice", term: `-u[= ]nobody\b|"-u", "nobody"|nobodyUID`}, // the user
	{forms: "somebody, somebodys", better: "another goroutine, a client, a user"},
	{forms: "everybody, everybodys", better: "all goroutines, all clients, all users"},
	{forms: "anybody, anybodys", better: "any goroutine, any client, any user"},
	{forms: "whoever, whoevers, whosoever, whomever", better: "the goroutine that, a client that"},
	{forms: "himself, herself", better: "itself, themselves"},
}

// names occur in no identifier, except in the names of tests, which are sentences, and in no name of a file. Comments and texts may use them.
var names = []word{
	{forms: "moment", better: "coarseTime, time, now"},
	{forms: "settle, settles, settled", better: "applyBackpressure, waitUntilIdle, or what else it does"},
	{forms: "aside", better: "deferred"},
	{forms: "stranger", better: "otherClient, other"},
}

// Samples for the checks.
var (
	goSample = sample{"server/loop.go", `package server

// It wakes the loop, which starves no other. Backpressure, starvation and byte-stuffed text are terms.
// The user is -u nobody, and a moment is a time. nobodyUID is a number.
// It pokes // bad
// the loop, which is hungry. // bad
// It draws the consequences, // bad
// and ends.
func wakeNobody() { // bad
	log("somebody's fault") // bad
	start("-u", "nobody")
	start("nobody") // bad
	var thisMoment int // bad
	wishful := HTTPWish // bad
	type pokeState int // bad
	settled := deaf_peer // bad
}

func TestNothingIsSettledInTheSameMoment() {}
`}
	fileSample     = sample{"server/deafPeers_test.go", "package server // bad\n"}
	namesSample    = sample{"event/settle.go", "package event // bad\n\n// Accounts settle in a moment.\n"}
	stuffingSample = sample{"server/framing/dot.go", "package framing\n\nvar stuffed, crowded bool // bad\n"}
	markdownSample = sample{"a.md", "A text says that the loop wakes.\nIt says that nobody: bad\n\nA queue with a wish: bad\n`wish.go`: bad\n`HTTPDeaf`: bad\n"}
	whoSample      = sample{"a.go", `package a

// Who asks again is refused. // bad
// A user who asks again is answered, and readers of it, who
// know this, say who asked. Those who wait are served.
// It is told to who asked. // bad
// It waits, so that who asks // bad
// is answered, for
// who asks again // bad
// waits. A question is: who am I?

// The client who asks is one that asks. // bad
var a = []string{"who", "/who", "who asks", // bad
	"not who"} // bad

func f() { g() } // who calls it is a goroutine // bad
`}
	whoMarkdown = sample{"a.md", "The file belongs to the user of `-u`, who may write it.\nIt belongs to\nwho may write it: bad\n"}
	whatSample  = sample{"a.go", `package a

// What does not fit is lost. // bad
// It says what it does, and
// what it returns; what it drops
// is lost. What it stores // bad
// is kept. What does it
// return?
//
//   - What is first is kept. // bad
var a = "What is it?" // It is what it is.
`}
	whatMarkdown = sample{"a.md", "# What it does\n\nIt does what it says (or not.) What it does: bad\n- **What** it does.\n"}
)
