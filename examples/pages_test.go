package examples_test

import (
	"fmt"
	"syscall"
	"testing"
)

// The sizes of a phone and of a screen, in CSS pixels.
const phoneWidth, phoneHeight, screenWidth, screenHeight = 360, 740, 1200, 800

// chat enters the chat of a page with a name.
func (p *tab) chat(name string) {
	p.t.Helper()
	p.evaluate(fmt.Sprintf("document.getElementById('name').value = %q; document.querySelector('#enter button').click()", name))
	p.until("the page is connected", "document.getElementById('state').textContent === 'connected'")
}

func (p *tab) say(text string) {
	p.t.Helper()
	p.evaluate(fmt.Sprintf("document.getElementById('text').value = %q; document.querySelector('#write button').click()", text))
}

// hears waits for the last line of the chat.
func (p *tab) hears(line string) {
	p.t.Helper()
	p.until("the last line", fmt.Sprintf("document.querySelector('#log li:last-child')?.textContent === %q", line))
}

// TestTheWSChatPageInChromium: two people, one with a phone, chat, also after a deploy, for which they do nothing.
func TestTheWSChatPageInChromium(t *testing.T) {
	b := startBrowser(t)
	p := start(t, build(t, "wschat"), "-addr", "127.0.0.1:0")
	addr := p.line("listening on ")
	phone, screen := b.open("http://"+addr+"/", phoneWidth, phoneHeight), b.open("http://"+addr+"/", screenWidth, screenHeight)
	phone.screenshot("wschat-phone-enter")
	phone.chat("Ann")
	screen.chat("Bob")
	phone.until("both are here", "document.getElementById('here').textContent === 'Here: Ann, Bob'")
	phone.say("hello")
	screen.hears("Ann: hello")
	screen.say("<b>x</b> & a-long-word-" + "that-is-wider-than-the-screen-of-a-phone-that-is-wider-than-the-screen-of-a-phone")
	phone.hears("Bob: <b>x</b> & a-long-word-" + "that-is-wider-than-the-screen-of-a-phone-that-is-wider-than-the-screen-of-a-phone")

	p.signal(syscall.SIGTERM)
	p.wait()
	phone.until("the page says that it is not connected", "document.getElementById('state').textContent === 'connecting again' && document.querySelector('#write button').disabled")
	phone.screenshot("wschat-phone-away")
	p = start(t, build(t, "wschat"), "-addr", addr)
	p.line("listening on ")
	for _, page := range []*tab{phone, screen} {
		page.until("both are back", "document.getElementById('here').textContent.match(/^Here: (Ann, Bob|Bob, Ann)$/) !== null && !document.querySelector('#write button').disabled")
	}
	phone.say("back again")
	screen.hears("Ann: back again")
	for name, page := range map[string]*tab{"phone": phone, "screen": screen} {
		page.hears("Ann: back again")
		page.fitsTheScreen()
		page.hasNoColor()
		page.screenshot("wschat-" + name)
	}
	p.signal(syscall.SIGTERM)
	p.wait()
}

// note posts a note, which the form keeps until the server has it.
func (p *tab) note(text string) {
	p.t.Helper()
	p.evaluate(fmt.Sprintf("document.getElementById('text').value = %q; document.querySelector('#write button').click()", text))
	p.until("the note is posted", "document.getElementById('text').value === ''")
}

// notes waits for the texts of all notes, separated by bars.
func (p *tab) notes(want string) {
	p.t.Helper()
	p.until("the notes", fmt.Sprintf("[...document.querySelectorAll('#notes li')].map(e => e.textContent).join('|') === %q", want))
}

// TestTheSSEPageInChromium: what one page posts, both show, once and in order, also after a deploy.
func TestTheSSEPageInChromium(t *testing.T) {
	b := startBrowser(t)
	p := start(t, build(t, "sse"), "-addr", "127.0.0.1:0")
	addr := p.line("listening on ")
	phone, screen := b.open("http://"+addr+"/", phoneWidth, phoneHeight), b.open("http://"+addr+"/", screenWidth, screenHeight)
	const connected = "document.getElementById('state').textContent === 'connected'"
	for _, page := range []*tab{phone, screen} {
		page.until("the page is connected", connected)
	}
	phone.note("from the phone")
	screen.note("<b>from</b> a-long-word-that-is-wider-than-the-screen-of-a-phone-that-is-wider-than-the-screen-of-a-phone")
	const before = "from the phone|<b>from</b> a-long-word-that-is-wider-than-the-screen-of-a-phone-that-is-wider-than-the-screen-of-a-phone"
	for _, page := range []*tab{phone, screen} {
		page.notes(before)
	}

	p.signal(syscall.SIGTERM)
	p.wait()
	phone.until("the page says that it is not connected", "document.getElementById('state').textContent === 'connecting again'")
	phone.screenshot("sse-phone-away")
	p = start(t, build(t, "sse"), "-addr", addr)
	p.line("listening on ")
	for _, page := range []*tab{phone, screen} {
		page.until("the page is connected again", connected)
	}
	phone.note("after the deploy")
	for name, page := range map[string]*tab{"phone": phone, "screen": screen} {
		page.notes(before + "|after the deploy")
		page.fitsTheScreen()
		page.hasNoColor()
		page.screenshot("sse-" + name)
	}
	p.signal(syscall.SIGTERM)
	p.wait()
}
