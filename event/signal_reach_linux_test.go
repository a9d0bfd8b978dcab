package event_test

// maxCaught is the highest signal that Go delivers.
const maxCaught = 64
