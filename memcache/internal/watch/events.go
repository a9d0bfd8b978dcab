package watch

// Events is a set of kinds of events.
type Events uint8

// Kinds of events.
const (
	Fetchers    Events = 1 << iota // a key was looked up
	Mutations                      // a value was stored or refused
	Evictions                      // an item was evicted
	Connections                    // a connection was opened or closed
)

// Parse parses the arguments of the watch command. Without arguments the result is Fetchers. Kinds of memcached that this cache does not have
// are accepted, but have no lines. ok is false for an unknown argument.
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
