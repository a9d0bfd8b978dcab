package difftest

import "fmt"

// binary returns a command of the binary protocol.
func (c commander) binary() []Line {
	return []Line{{Bin, c.frame()}}
}

// closing are requests after which the server closes the connection. The first one is also for the text protocol.
var closing = []string{
	"quit", "quitq", "get key=a extras=00000000", "set key=a value=a", "get", "noop value=x", "touch key=a", "delete extras=00000000 key=a",
	"noop key=a", "set extras=0000000000000000 value=a", "get key=a bodylen=0",
}

// initial is the initial number of a counter: 13.
const initial = "000000000000000d"

// frame returns the text of a frame.
func (c commander) frame() string {
	opaque := c.pick("", "", " opaque=1", " opaque=ffffffff")
	cas := c.pick("", "", "", "", " cas={recent}", " cas=1000000001")
	switch c.r.IntN(12) {
	case 0, 1, 2, 3:
		if c.counts {
			return fmt.Sprintf("%s key=%s extras=%s%s%s%s%s", c.pick("increment", "incrementq", "decrement", "decrementq"), c.anyKey(),
				c.pick("0000000000000001", "0000000000000064", "ffffffffffffffff", "0000000000000000"), initial,
				c.pick("00000000", "00000064", "ffffffff"), opaque, cas)
		}
		return c.pick("get", "getq", "getk", "getkq") + " key=" + c.pick(c.anyKey(), c.anyKey(), "missing", `sp\x20ace`) + opaque
	case 4, 5, 6:
		key := c.pick(c.anyKey(), c.anyKey(), c.anyKey(), `sp\x20ace`)
		return fmt.Sprintf("%s key=%s extras=%s%s%s%s value=%s", c.pick("set", "setq", "set", "add", "addq", "replace", "replaceq"), key,
			c.pick("00000000", "00000007", "ffffffff"), c.pick("00000000", "00000064", "7fffffff"), opaque, cas, c.value(key))
	case 7:
		key := c.anyKey()
		return fmt.Sprintf("%s key=%s%s%s value=%s", c.pick("append", "appendq", "prepend", "prependq"), key, opaque, cas, c.value(key))
	case 8:
		return c.pick("delete", "deleteq") + " key=" + c.pick(c.anyKey(), c.anyKey(), `sp\x20ace`) + opaque + cas
	case 9:
		if c.counts {
			return "noop" + opaque // a touch's answer holds the item too
		}
		return c.pick("touch", "gat", "gatq", "gatk", "gatkq") + " key=" + c.anyKey() + " extras=" + c.pick("00000000", "00000064") + opaque
	case 10:
		return c.pick("noop", "version", "noop", "version", "flush", "flushq", "flush extras=00000000", "stat key=nonsense", "op40", "verbosity",
			"saslmechs") + opaque
	default:
		if c.one(3) {
			return c.pick(closing...)
		}
		return "noop" + opaque
	}
}
