"""What lies on a stream: frames, control messages, questions and answers, and how much of each."""
