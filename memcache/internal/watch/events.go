package watch

// Events is a set of kinds of events.
type Events uint8

// The kinds of events that have lines.
const (
	Fetchers    Events = 1 << iota // a key was looked up
	Mutations                      // a value was brought to be stored
	Evictions                      // an item had to make room
	Connections                    // a connection was opened or closed
)

// Parse reads the words that follow the watch command. Without a word it is Fetchers. Some words of memcached's are about parts that
// this cache does not have: they are accepted and have no lines. ok is false if a word is not known.
func Parse(words [][]byte) (events Events, ok bool) {
	if len(words) == 0 {
		return Fetchers, true
	}
	for _, word := range words {
		switch string(word) {
		case "fetchers":
			events |= Fetchers
		case "mutations":
			events |= Mutations
		case "evictions":
			events |= Evictions
		case "connevents":
			events |= Connections
		case "rawcmds", "sysevents", "proxyreqs", "proxyevents":
		default:
			return 0, false
		}
	}
	return events, true
}
