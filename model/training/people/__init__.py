"""PeopleStreams: rendered everyday video of people, in which some fall and some fight, with its annotations."""
