package session

// An Intent is what a classifier made of a user's message.
type Intent struct {
	Name     string  `json:"name"`
	Score    float64 `json:"score"`              // the classifier's confidence, usually 0 to 1
	Sentence string  `json:"sentence,omitempty"` // the sentence that matched
	Params   []Param `json:"params,omitempty"`   // the parameters that matched
}

// A Param is one matched parameter of an [Intent].
type Param struct {
	Name  string `json:"name"`
	Value any    `json:"value"`          // nil: the parameter is known, its value was not found
	Info  any    `json:"info,omitempty"` // whatever the recogniser adds
}

// The flags that the library raises and lowers itself. Others are the bot's own.
const (
	FlagIntent = "predicted_intent" // an intent was set and no move has consumed it
	FlagFile   = "file"             // a file came and no move has consumed it
)

// A Transition is a move from one state to another. From is a guard: the move
// is refused with [ErrWrongState] when the session is elsewhere.
type Transition struct {
	From string `json:"from"`
	To   string `json:"to"`
}
