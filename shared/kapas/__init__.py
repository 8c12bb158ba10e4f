"""What two or more functions of Kapas share. Functions import from here and from their own folder, nowhere else."""
